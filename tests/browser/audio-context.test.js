// Which context a microphone is connected with, in a browser that is made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sourceOf } from '../../web/sdk/media/audio-context.js';

/** The sample rate of the devices. */
const DEVICES = 44_100;
/** Whether a device may have another sample rate than its context. */
let resamples = true;

class FakeAudioContext {
  state = 'running';
  /** @param {{ sampleRate?: number }} options */
  constructor({ sampleRate = DEVICES }) {
    this.sampleRate = sampleRate;
  }
  createMediaStreamSource() {
    if (!resamples && this.sampleRate !== DEVICES) throw new DOMException('another sample rate', 'NotSupportedError');
    return { context: this };
  }
  addEventListener() {}
}
Object.assign(globalThis, { AudioContext: FakeAudioContext, addEventListener() {}, removeEventListener() {} });

test('a microphone is connected at the rate of Opus, or at that of the devices where the browser takes no other', () => {
  const rate = () => sourceOf(/** @type {any} */ ({})).context.sampleRate;
  assert.equal(rate(), 48_000);
  resamples = false;
  assert.deepEqual([rate(), rate()], [DEVICES, DEVICES]);
});
