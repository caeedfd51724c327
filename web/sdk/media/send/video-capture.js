/** The frames of a camera or screen, on their way to the worker. */

/**
 * @typedef {object} VideoSink
 * @property {(readable: ReadableStream<VideoFrame>) => void} stream all frames
 * @property {(frame: VideoFrame) => void} frame one frame, where there are no streams of them
 * @property {(isHidden: boolean) => void} hidden a page that is not looked at gets no frames
 */

/** @param {MediaStreamTrack} track @param {VideoSink} sink @returns {() => void} ends it; the device goes on */
export function captureVideo(track, sink) {
  const { MediaStreamTrackProcessor } = /** @type {any} */ (globalThis);
  if (!MediaStreamTrackProcessor) return captureFromElement(track, sink);
  sink.stream(new MediaStreamTrackProcessor({ track }).readable);
  return () => {};
}

/** By a video element that nobody sees, where the browser has no processor. @param {MediaStreamTrack} track @param {VideoSink} sink */
function captureFromElement(track, sink) {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([track]);
  void video.play().catch(() => {});
  let isOver = false;
  const next = (/** @type {number} */ nowMs) => {
    if (isOver) return;
    video.requestVideoFrameCallback(next);
    try {
      sink.frame(new VideoFrame(video, { timestamp: Math.round(nowMs * 1000) }));
    } catch {
      // Between two devices there is a moment without a picture.
    }
  };
  video.requestVideoFrameCallback(next);
  const look = () => sink.hidden(document.hidden);
  document.addEventListener('visibilitychange', look);
  look();
  return () => {
    isOver = true;
    document.removeEventListener('visibilitychange', look);
    video.srcObject = null;
  };
}
