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
  /** @type {any[]} */
  posted = [];
  postMessage(/** @type {any} */ message) { this.posted.push(message); }
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

test('what is not sent because others spoke later is not waited for, unless it is pinned', () => {
  const asked = /** @type {string[]} */ ([]);
  const changed = /** @type {string[]} */ ([]);
  const subscribing = new Subscribing(any({
    ask: async (/** @type {any} */ { type, track, pinned }) => { if (type === 'setPinned') asked.push(`${track} ${pinned}`); },
    tell() {}, self: () => ({ id: 1 }), sendDatagram() {}, pathMs: () => null,
    emit: (/** @type {string} */ type, /** @type {any} */ { track }) => { if (type === 'trackStateChanged') changed.push(`${track.id} ${track.isHeld}`); },
  }));
  subscribing.seated({ room: 'standup' });
  const media = { type: 'video', width: 640, height: 360, spatialLayers: 1, temporalLayers: 1 };
  const video = (/** @type {number} */ track, source = 'camera') => new RemoteTrack(any({ track, muted: false, info: { source, codec: 'vp8', media } }));
  const [ben, cat, screen] = [video(7), video(8), video(9, 'screen')];
  subscribing.published(any({ id: 2 }), ben);
  subscribing.published(any({ id: 3 }), cat);
  subscribing.published(any({ id: 3 }), screen);
  const worker = /** @type {FakeWorker} */ (FakeWorker.all.at(-1));
  const mutes = () => worker.posted.splice(0).filter(({ type }) => type === 'mute').map(({ track, muted }) => `${track} ${muted}`);
  assert.deepEqual([mutes(), changed.splice(0)], [[], []], 'no word of a stage');
  subscribing.relayStage([2]);
  assert.deepEqual([mutes(), changed.splice(0)], [['8 true'], ['8 true']], 'a screen is always sent');
  subscribing.relayStage([3]);
  assert.deepEqual([mutes(), changed.splice(0)], [['7 true', '8 false'], ['7 true', '8 false']]);
  ben.setPinned(true);
  assert.deepEqual([mutes(), changed.splice(0), asked.splice(0)], [['7 false'], ['7 false'], ['7 true']]);
  const dan = video(10);
  subscribing.published(any({ id: 4 }), dan);
  assert.deepEqual([dan.isHeld, worker.posted.at(-1)?.track.muted], [true, true], 'who comes later has no place');
  subscribing.seated({ room: 'standup' });
  assert.deepEqual([dan.isHeld, asked], [false, ['7 true']], 'another session tells it anew, and is told what is pinned');
  subscribing.closed();
});
