// The AudioContext of a browser that is made up: which one a microphone is connected with, and what it is asked for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { audioContext, holdAudio, outputMs, releaseAudio, sourceOf } from '../../web/sdk/media/audio-context.js';

/** The sample rate of the devices. */
const DEVICES = 44_100;
/** Whether a device may have another sample rate than its context. */
let resamples = true;
/** How often it was asked how late it is. */
let asked = 0;

/** What gestures do. @type {(() => void)[]} */
const gestures = [];

class FakeAudioContext {
  static begins = 'running';
  state = FakeAudioContext.begins;
  /** Tells of another state. */
  #changed = () => {};
  baseLatency = 0.01;
  get outputLatency() {
    asked++;
    return 0.1;
  }
  /** @param {{ sampleRate?: number }} options */
  constructor({ sampleRate = DEVICES }) {
    this.sampleRate = sampleRate;
  }
  createMediaStreamSource() {
    if (!resamples && this.sampleRate !== DEVICES) throw new DOMException('another sample rate', 'NotSupportedError');
    return { context: this };
  }
  /** @param {string} _ @param {() => void} listener */
  addEventListener(_, listener) { this.#changed = listener; }
  async suspend() { this.#become('suspended'); }
  mayRun = true;
  resumed = 0;
  async resume() {
    this.resumed++;
    if (this.mayRun) this.#become('running');
  }
  /** @param {string} state */
  #become(state) {
    this.state = state;
    this.#changed();
  }
}
Object.assign(globalThis, { AudioContext: FakeAudioContext, addEventListener: (/** @type {string} */ _, /** @type {() => void} */ act) => void gestures.push(act), removeEventListener() {} });

test('a microphone is connected at the rate of Opus, or at that of the devices where the browser takes no other', () => {
  const rate = () => sourceOf(/** @type {any} */ ({})).context.sampleRate;
  assert.equal(rate(), 48_000);
  resamples = false;
  assert.deepEqual([rate(), rate()], [DEVICES, DEVICES]);
});

test('a browser says how late it is heard, but Firefox is not asked where that can stop its sound', () => {
  const firefox = (/** @type {string} */ system) => `Mozilla/5.0 (${system}; rv:153.0) Gecko/20100101 Firefox/153.0`;
  assert.deepEqual([outputMs('Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0.0.0'), outputMs(firefox('Windows NT 10.0; Win64; x64')), asked], [110, 110, 2]);
  assert.deepEqual([outputMs(firefox('X11; Linux x86_64')), asked], [50, 2]);
});

test('what something else suspended goes on by itself after a while, unless nothing uses it any more', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const [sink, context] = [{}, /** @type {FakeAudioContext} */ (/** @type {unknown} */ (audioContext()))];
  holdAudio(sink);
  context.mayRun = false;
  void context.suspend();
  const resumed = (/** @type {number} */ ms) => {
    const before = context.resumed;
    t.mock.timers.tick(ms);
    return context.resumed - before;
  };
  assert.deepEqual([999, 1, 1999, 1, 3999, 1].map(resumed), [0, 1, 0, 1, 0, 1]);
  context.mayRun = true;
  assert.deepEqual([resumed(8000), context.state, resumed(60_000)], [1, 'running', 0]);
  void context.suspend();
  releaseAudio(sink);
  assert.deepEqual([resumed(100_000), context.state], [0, 'suspended']);
});

test('what the browser has never let run waits for a gesture', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const module = '../../web/sdk/media/audio-context.js?other';
  const other = /** @type {typeof import('../../web/sdk/media/audio-context.js')} */ (await import(module));
  FakeAudioContext.begins = 'suspended';
  t.after(() => { FakeAudioContext.begins = 'running'; });
  const context = /** @type {FakeAudioContext} */ (/** @type {unknown} */ (other.audioContext()));
  context.mayRun = false;
  other.holdAudio({});
  void context.suspend();
  const { resumed } = context;
  t.mock.timers.tick(100_000);
  assert.equal(context.resumed - resumed, 0);
});

test('it rests while nothing plays or captures, whatever one clicks', () => {
  const [sink, capture] = [{}, {}];
  const click = () => { for (const act of gestures) act(); };
  const states = [holdAudio, releaseAudio].flatMap((act) => [sink, capture].map((user) => {
    act(user);
    return audioContext().state;
  }));
  assert.deepEqual(states, ['running', 'running', 'running', 'suspended']);
  click();
  assert.equal(audioContext().state, 'suspended');
  releaseAudio(sink);
  holdAudio(sink);
  assert.equal(audioContext().state, 'running');
  void audioContext().suspend();
  click();
  assert.equal(audioContext().state, 'running', 'what a telephone call suspended goes on with a gesture');
  releaseAudio(sink);
});
