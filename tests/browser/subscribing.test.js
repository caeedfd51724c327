// What is received, on the page's side, with a worker and a page that are made up.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { RemoteTrack } from '../../web/sdk/media/receive/remote-track.js';
import { Subscribing } from '../../web/sdk/media/receive/subscribing.js';

class FakeWorker {
  /** @type {FakeWorker[]} */
  static all = [];
  /** @type {(event: { message?: string }) => void} */
  onerror = () => {};
  isOver = false;
  constructor() {
    FakeWorker.all.push(this);
  }
  postMessage() {}
  terminate() { this.isOver = true; }
}
Object.assign(globalThis, { Worker: FakeWorker, document: { visibilityState: 'visible', addEventListener() {}, removeEventListener() {} } });

const any = (/** @type {unknown} */ value) => /** @type {any} */ (value);

test('a worker that cannot be loaded is told, one that makes a mistake goes on, and both end with the meeting', () => {
  const failed = /** @type {string[]} */ ([]);
  const subscribing = new Subscribing(any({
    ask: async () => {}, tell() {}, self: () => ({ id: 1 }), sendDatagram() {}, pathMs: () => null,
    emit: (/** @type {string} */ type, /** @type {any} */ { error, track }) => { if (type === 'mediaFailed') failed.push(`${error.code} ${track.id}`); },
  }));
  subscribing.seated({ room: 'standup' });
  const media = { type: 'video', width: 640, height: 360, spatialLayers: 1, temporalLayers: 1 };
  subscribing.published(any({ id: 2 }), new RemoteTrack(any({ track: 7, muted: false, info: { source: 'camera', codec: 'vp8', media } })));
  const [worker] = FakeWorker.all;
  worker.onerror({ message: 'a mistake' });
  assert.deepEqual(failed, []);
  worker.onerror({});
  assert.deepEqual(failed, ['worker_failed 7']);
  mock.timers.enable({ apis: ['setTimeout'] });
  subscribing.closed();
  assert.deepEqual(FakeWorker.all.map(({ isOver }) => isOver), [false], 'it closes what it has');
  mock.timers.tick(1000);
  assert.deepEqual(FakeWorker.all.map(({ isOver }) => isOver), [true]);
  mock.timers.reset();
});

test('the relay says who speaks of those who are not heard here', () => {
  const told = /** @type {number[][]} */ ([]);
  const subscribing = new Subscribing(any({
    ask: async () => {}, tell() {}, self: () => ({ id: 1 }), sendDatagram() {}, pathMs: () => null,
    emit: (/** @type {string} */ type, /** @type {any} */ { participants }) => { if (type === 'activeSpeakers') told.push(participants.map((/** @type {{ id: number }} */ { id }) => id)); },
  }));
  subscribing.seated({ room: 'standup' });
  // Pictures, so that nothing has to be played.
  const media = { type: 'video', width: 640, height: 360, spatialLayers: 1, temporalLayers: 1 };
  const microphone = (/** @type {number} */ track) => new RemoteTrack(any({ track, muted: false, info: { source: 'microphone', codec: 'vp8', media } }));
  const [ben, cat] = [microphone(7), microphone(8)];
  subscribing.published(any({ id: 2 }), ben);
  subscribing.published(any({ id: 3 }), cat);
  subscribing.relaySpeakers([2, 3, 1]);
  assert.deepEqual(told, [], 'all of them are heard here');
  cat.setSubscribed(false);
  subscribing.relaySpeakers([3, 2]);
  subscribing.relaySpeakers([3, 2]);
  subscribing.relaySpeakers([]);
  assert.deepEqual(told, [[3], []]);
  subscribing.closed();
});
