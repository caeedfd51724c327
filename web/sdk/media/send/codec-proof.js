/** Encodes a few frames to see whether a codec is fast enough on this machine. */
import { PROOF_FRAMES, PROOF_WARM_UP_FRAMES, codecString, encoderConfigs, firstSupported } from './codec.js';

/** A codec that has not shown in this time what it can do is too slow, in milliseconds. */
const PROOF_MS_MAX = 3000;
/** How far the test picture moves from frame to frame, in pixels: an encoder has to look for it. */
const MOTION_PIXELS = 3;

/**
 * @param {import('./codec.js').VideoCodecName} name
 * @param {{ width: number, height: number, bitrate: number, frameRate: number, isScreen: boolean }} encoding
 * @returns {Promise<import('./codec.js').Proof | null>} `null`: it cannot encode that
 */
export async function prove(name, encoding) {
  const config = await firstSupported(encoderConfigs({ ...encoding, codec: codecString(name, encoding) }));
  if (!config) return null;
  const proof = { encodeMs: /** @type {number[]} */ ([]), heldFrames: 0 };
  let [given, back, startedMs] = [0, 0, 0];
  let isFailed = false;
  const encoder = new VideoEncoder({
    output: () => {
      if (++back > PROOF_WARM_UP_FRAMES) proof.encodeMs.push(performance.now() - startedMs);
    },
    error: () => { isFailed = true; },
  });
  try {
    encoder.configure(config);
    const untilMs = performance.now() + PROOF_MS_MAX;
    for (; given < PROOF_FRAMES; given++) {
      const frame = testFrame(encoding, given);
      startedMs = performance.now();
      encoder.encode(frame);
      frame.close();
      // One at a time: what is back later than a frame's interval was held, or is too slow.
      await backWithin(() => back > given || isFailed, 1000 / encoding.frameRate);
      if (given >= PROOF_WARM_UP_FRAMES) proof.heldFrames = Math.max(proof.heldFrames, given + 1 - back);
      if (isFailed || performance.now() > untilMs) return null;
    }
    return proof;
  } catch {
    return null;
  } finally {
    if (encoder.state !== 'closed') encoder.close();
  }
}

/** @param {() => boolean} isBack @param {number} ms at most */
async function backWithin(isBack, ms) {
  const untilMs = performance.now() + ms;
  while (!isBack() && performance.now() < untilMs) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A picture of stripes that moves. @param {{ width: number, height: number }} size @param {number} number */
function testFrame({ width, height }, number) {
  const bytes = new Uint8Array(width * height + 2 * (width >> 1) * (height >> 1)).fill(128);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) bytes[at] = ((x + number * MOTION_PIXELS) * (1 + (y >> 5))) & 0xff;
  }
  const strides = [[0, width], [width * height, width >> 1], [width * height + (width >> 1) * (height >> 1), width >> 1]];
  const layout = strides.map(([offset, stride]) => ({ offset, stride }));
  return new VideoFrame(bytes, { format: 'I420', codedWidth: width, codedHeight: height, timestamp: number * 33_333, layout });
}
