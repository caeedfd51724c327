// What happens to devices when something is published, with devices, a page and encoders that are made up.
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { FIRST_FRAME_SECONDS_MAX } from '../../web/sdk/media/send/publication.js';
import { Publishing } from '../../web/sdk/media/send/publishing.js';
import { LocalTrack, makeLocalTrack } from '../../web/sdk/media/send/local-track.js';

/** A device that is open. */
class FakeDevice {
  readyState = 'live';
  onended = null;
  /** @param {string} kind */
  constructor(kind) {
    this.kind = kind;
  }
  getSettings() { return { deviceId: 'one', width: 640, height: 360, frameRate: 30 }; }
  stop() { this.readyState = 'ended'; }
}

/** The worker with the encoders: it takes everything, and says that it encodes VP8. */
class FakeWorker {
  /** The one that was started last. @type {FakeWorker | null} */
  static last = null;
  constructor() { FakeWorker.last = this; }
  /** What it was told, but for what it is to encode. @type {string[]} */
  told = [];
  /** @type {((event: { data: unknown }) => void) | null} */
  onmessage = null;
  /** @param {any} message */
  postMessage(message) {
    this.told.push(message.type);
    if (message.type === 'prepare') queueMicrotask(() => this.onmessage?.({ data: { type: 'prepared', request: message.request, config: { codec: 'vp8' }, temporalLayers: 3 } }));
  }
  terminate() {}
}

/** @type {FakeDevice[]} */
let opened = [];
/** What `getUserMedia` waits for. */
let allowed = Promise.resolve();
const page = { hidden: false, createElement: () => ({ play: async () => {}, requestVideoFrameCallback() {} }), addEventListener() {}, removeEventListener() {} };

const getUserMedia = async (/** @type {object} */ constraints) => {
  await allowed;
  const device = new FakeDevice('video' in constraints ? 'video' : 'audio');
  opened.push(device);
  return { getTracks: () => [device] };
};
Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { mediaDevices: { getUserMedia, addEventListener() {}, removeEventListener() {} } } });
Object.assign(globalThis, {
  Worker: FakeWorker, document: page,
  MediaStream: class { getTracks() { return []; } addTrack() {} removeTrack() {} },
});

beforeEach(() => {
  opened = [];
  allowed = Promise.resolve();
  page.hidden = false;
});

/** Datagrams that the browser did not take. */
let leftOut = 0;

function start() {
  leftOut = 0;
  const asked = /** @type {any[]} */ ([]);
  const publishing = new Publishing(/** @type {any} */ ({
    ask: async (/** @type {any} */ request) => {
      asked.push(request);
      return request.type === 'publish' ? { type: 'published', track: 7 } : { type: 'done' };
    },
    emit() {}, carrier: () => 'websocket', bufferedBytes: () => 0, datagramsLeftOut: () => leftOut, sendDatagrams() {},
  }), {});
  publishing.seated({ resumed: false, tracks: [], room: 'room' });
  return { publishing, asked };
}

/** Seconds pass in which the worker has had so many frames. @param {number} seconds @param {number} captured */
async function pass(seconds, captured) {
  const counts = { captured, unwanted: 0, dropped: 0, thinned: 0, encoded: 0 };
  for (let second = 0; second < seconds; second++) {
    FakeWorker.last?.onmessage?.({ data: { type: 'statistics', target: 1, tracks: [{ key: 1, bits: 0, frames: 0, framesSent: 0, renditions: [], counts }] } });
    await new Promise(setImmediate);
  }
}

test('nothing that was asked for before one left is opened afterwards', async () => {
  const { publishing } = start();
  const permission = deferred();
  allowed = permission.promise;
  const wishes = [true, false, true].map((isOn) => publishing.setEnabled('camera', isOn));
  await new Promise(setImmediate);
  publishing.closed();
  permission.resolve(undefined);
  const outcomes = await Promise.allSettled(wishes);
  assert.deepEqual(outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason.code : outcome.value)), ['left', null, 'left']);
  assert.deepEqual([opened.length, publishing.tracks.size], [1, 0]);
  assert.ok(opened.every(({ readyState }) => readyState === 'ended'), 'a device is still on');
});

test('a camera that is turned on in a page that is not looked at is published as muted', async () => {
  page.hidden = true;
  const { publishing, asked } = start();
  await publishing.setEnabled('camera', true);
  assert.deepEqual(asked.map(({ type, muted }) => [type, muted]), [['publish', undefined], ['setMuted', true]]);
  publishing.closed();
});

test('a camera of which nothing comes is opened again, once', async () => {
  const { publishing } = start();
  await publishing.setEnabled('camera', true);
  await pass(FIRST_FRAME_SECONDS_MAX - 1, 0);
  assert.equal(opened.length, 1);
  await pass(1, 0);
  assert.deepEqual(opened.map(({ readyState }) => readyState), ['ended', 'live']);
  await pass(20, 0);
  assert.equal(opened.length, 2);
  publishing.closed();
});

test('a camera that has given something, or is to give nothing, does not hang', async () => {
  const { publishing } = start();
  await publishing.setEnabled('camera', true);
  await publishing.setEnabled('camera', false);
  await pass(2 * FIRST_FRAME_SECONDS_MAX, 0);
  await publishing.setEnabled('camera', true);
  await pass(2 * FIRST_FRAME_SECONDS_MAX, 1);
  assert.equal(opened.length, 2);
  publishing.closed();
});

test('no camera is opened in place of what a program publishes, nor for a page that is not looked at, nor when it was switched off', async () => {
  const { publishing } = start();
  await publishing.publishTrack(await makeLocalTrack('camera', /** @type {any} */ (new FakeDevice('video'))));
  await pass(2 * FIRST_FRAME_SECONDS_MAX, 0);
  assert.equal(opened.length, 0);
  publishing.closed();
  const other = start().publishing;
  await other.setEnabled('camera', true);
  await pass(FIRST_FRAME_SECONDS_MAX - 1, 0);
  page.hidden = true;
  await pass(2 * FIRST_FRAME_SECONDS_MAX, 0);
  page.hidden = false;
  const off = other.setEnabled('camera', false);
  await pass(1, 0);
  await off;
  assert.deepEqual(opened.map(({ readyState }) => readyState), ['ended']);
  other.closed();
});

test('a device that stopped before it was published is lost, and is not announced', async () => {
  const { publishing, asked } = start();
  const device = new FakeDevice('video');
  const track = await makeLocalTrack('camera', /** @type {any} */ (device));
  device.stop();
  await assert.rejects(publishing.publishTrack(track), { code: 'device_lost' });
  assert.deepEqual([asked, publishing.tracks.size], [[], 0]);
});

test('a microphone whose sound cannot be read is let go', async () => {
  const device = new FakeDevice('audio');
  // There is no AudioContext here.
  await assert.rejects(makeLocalTrack('microphone', /** @type {any} */ (device)));
  assert.equal(device.readyState, 'ended');
});

test('another microphone whose sound cannot be read leaves the one before on, and is let go', async () => {
  const { publishing } = start();
  const device = new FakeDevice('audio');
  const track = new LocalTrack('microphone', /** @type {any} */ (device), {});
  await publishing.publishTrack(track);
  // There is no AudioContext here.
  await assert.rejects(publishing.switchActiveDevice('audioinput', 'two'));
  assert.deepEqual([device.readyState, opened.map(({ readyState }) => readyState), track.isStopped, track.muted], ['live', ['ended'], false, false]);
  // Nor is one on that cannot be opened again.
  await publishing.setMuted(track, true);
  device.stop();
  await assert.rejects(publishing.setEnabled('microphone', true));
  assert.deepEqual([track.isStopped, track.muted, opened.map(({ readyState }) => readyState)], [true, true, ['ended', 'ended']]);
  publishing.closed();
});

test('in a relay that was started again a track has no number until it gets one', async () => {
  const { publishing } = start();
  const track = await publishing.setEnabled('camera', true);
  assert.equal(track?.id, 7);
  publishing.interrupted();
  publishing.seated({ resumed: false, tracks: [], room: 'room' });
  assert.equal(track?.id, 0);
  await new Promise(setImmediate);
  assert.equal(track?.id, 7);
  publishing.closed();
});

test("a screen's sound ends with its picture", async () => {
  const { publishing } = start();
  const devices = [new FakeDevice('video'), new FakeDevice('audio')];
  const [picture, sound] = devices.map((device, index) => new LocalTrack(index ? 'screenAudio' : 'screen', /** @type {any} */ (device), {}));
  await publishing.publishTrack(picture);
  await publishing.publishTrack(sound);
  assert.equal(publishing.tracks.size, 2);
  FakeWorker.last?.onmessage?.({ data: { type: 'failed', key: 1, reason: 'made up' } });
  await new Promise(setImmediate);
  assert.deepEqual([publishing.tracks.size, ...devices.map(({ readyState }) => readyState)], [0, 'ended', 'ended']);
});

test('nothing is captured for a source that is taken', async () => {
  const { publishing } = start();
  await publishing.setEnabled('camera', true);
  const device = new FakeDevice('audio');
  await publishing.publishTrack(new LocalTrack('microphone', /** @type {any} */ (device), {}));
  const another = new FakeDevice('audio');
  // There is no AudioContext here: capturing would fail otherwise.
  await assert.rejects(publishing.publishTrack(/** @type {any} */ (another), { source: 'microphone' }), { code: 'source_taken' });
  assert.equal(another.readyState, 'live', 'it is not ours to stop');
  publishing.closed();
});

function deferred() {
  /** @type {(value: unknown) => void} */
  let resolve = () => {};
  const promise = /** @type {Promise<any>} */ (new Promise((done) => { resolve = done; }));
  return { promise, resolve };
}

test('what the browser leaves out in two seconds running is missed, in each session anew', async () => {
  const { publishing } = start();
  leftOut = 3;
  await publishing.setEnabled('camera', true);
  const missed = async (/** @type {number[]} */ counts) => {
    const before = FakeWorker.last?.told.length;
    for (const count of counts) {
      leftOut = count;
      await pass(1, 1);
    }
    return FakeWorker.last?.told.slice(before).filter((type) => type === 'missed').length;
  };
  assert.equal(await missed([3, 3, 5, 5, 9, 9]), 0, 'one second alone');
  assert.equal(await missed([10, 11, 12, 12, 12]), 2);
  publishing.interrupted();
  leftOut = 0;
  publishing.seated({ resumed: false, tracks: [], room: 'room' });
  assert.equal(await missed([1, 2, 2]), 1, 'counted from the beginning of the session');
  publishing.closed();
});
