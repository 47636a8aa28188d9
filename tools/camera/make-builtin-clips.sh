#!/bin/sh
# Makes the clips of the built-in cameras (src/ingest/clips) anew, from ffmpeg's test pictures.
# The clips are kept in the repository, so this is run only to change them. Encoders differ between
# versions: expect other bytes, and the same pictures.
set -eu
cd "$(dirname "$0")/../../src/ingest/clips"
ff() { ffmpeg -hide_banner -loglevel error -y "$@"; }
length="-t 2"
# A key frame every second, no B-frames (an elementary stream has no times), parameter sets inline.
x264="-c:v libx264 -preset slow -pix_fmt yuv420p -bf 0 -g 25 -sc_threshold 0 -x264-params repeat-headers=1:scenecut=0"
x265="-c:v libx265 -preset slow -pix_fmt yuv420p -tag:v hvc1 -x265-params bframes=0:keyint=25:min-keyint=25:scenecut=0:repeat-headers=1:log-level=error"
# shellcheck disable=SC2086
{
    ff -f lavfi -i testsrc2=size=320x240:rate=25 $length $x264 -b:v 120k gate.h264
    ff -f lavfi -i mandelbrot=size=640x360:rate=25 $length $x265 -b:v 300k yard.h265
    ff -f lavfi -i testsrc=size=640x360:rate=25 $length $x264 -b:v 250k door.h264
    ff -f lavfi -i 'sine=frequency=440:beep_factor=4:sample_rate=16000' $length -c:a aac -b:a 32k -ac 1 -f adts door.aac
    ff -f lavfi -i smptehdbars=size=320x240:rate=10,rotate=a=t -t 2 -c:v mjpeg -pix_fmt yuvj420p -q:v 9 -f mjpeg lift.mjpeg
    ff -f lavfi -i 'sine=frequency=330:beep_factor=2:sample_rate=8000' $length -c:a pcm_mulaw -ac 1 -f mulaw lift.ul
}
