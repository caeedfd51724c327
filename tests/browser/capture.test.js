// What a microphone gives, on the thread of the audio, which is made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';

/** @type {any} */
let CaptureProcessor;
Object.assign(globalThis, {
  sampleRate: 48_000, currentFrame: 0,
  AudioWorkletProcessor: class { port = { onmessage: /** @type {any} */ (null), postMessage() {} }; },
  registerProcessor: (/** @type {string} */ _name, /** @type {unknown} */ processor) => { CaptureProcessor = processor; },
});
await import('../../web/sdk/media/send/capture.worklet.js');

function start() {
  const processor = new CaptureProcessor({ processorOptions: { channels: 1 } });
  const sent = /** @type {any[]} */ ([]);
  const port = { isClosed: false, postMessage: (/** @type {any} */ frame) => void sent.push(frame), close() { this.isClosed = true; } };
  const tell = (/** @type {unknown} */ data) => processor.port.onmessage({ data });
  /** Blocks of 128 samples. @param {number} blocks */
  const hear = (blocks) => Array.from({ length: blocks }, () => processor.process([[new Float32Array(128).fill(0.5)]]));
  return { port, sent, tell, hear };
}

test('samples come out as frames of 20 ms', () => {
  const { port, sent, tell, hear } = start();
  tell({ type: 'frames', port });
  hear(15);
  assert.deepEqual(sent.map(({ samples, channels, sampleRate }) => [samples.length, channels, sampleRate]), [[960, 1, 48_000], [960, 1, 48_000]]);
});

test('a capture that is over gives nothing more and ends its processor', () => {
  const { port, sent, tell, hear } = start();
  tell({ type: 'frames', port });
  assert.deepEqual(hear(1), [true]);
  tell({ type: 'close' });
  assert.deepEqual([hear(15).includes(true), sent.length, port.isClosed], [false, 0, true]);
});
