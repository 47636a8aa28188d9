//! On tokio: a read as a `Stream`.

use futures_core::Stream;
use tokio::runtime::Builder;

use super::*;
use camring::reader::FrameStream;

/// The next item of a stream, as the usual extensions of `Stream` take it.
async fn next(stream: &mut FrameStream) -> Option<camring::Result<Recorded>> {
    std::future::poll_fn(|task| pin!(&mut *stream).poll_next(task)).await
}

/// One thread is all that this runtime has: what blocked it would stop the test.
fn runtime() -> tokio::runtime::Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// The stream is owned, so that it can go into a task, a response or a channel of its own.
#[test]
fn a_stream_follows_a_recording_beside_other_tasks_of_one_thread() {
    let (writer, mut producer) = recording(&disk(), NEVER_US);
    runtime().block_on(async {
        let mut query = everything();
        query.until = Until::Committed;
        let mut stream = FrameStream::open(writer.volume(), query).await.unwrap();
        let following = tokio::spawn(async move {
            let mut numbers = Vec::new();
            while let Some(recorded) = next(&mut stream).await {
                numbers.extend(number(&recorded.unwrap()));
            }
            numbers
        });
        for first in (0..300).step_by(10) {
            push(&mut producer, first..first + 10);
            writer.commit_async().await.unwrap();
        }
        drop(producer);
        writer.close().unwrap();
        assert_eq!(following.await.unwrap(), (0..300).collect::<Vec<_>>());
    });
}

#[test]
fn a_stream_that_is_dropped_ends_its_read() {
    let (writer, mut producer) = recording(&disk(), NEVER_US);
    push(&mut producer, 0..100);
    let mut query = everything();
    query.until = Until::Committed;
    runtime().block_on(async {
        writer.commit_async().await.unwrap();
        let mut stream = FrameStream::open(writer.volume(), query.clone())
            .await
            .unwrap();
        assert!(next(&mut stream).await.unwrap().is_ok());
    });
    // Outside a runtime as well: the reader's thread is waited for here.
    let stream = runtime().block_on(FrameStream::open(writer.volume(), query));
    drop(stream.unwrap());
}
