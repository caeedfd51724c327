// What the relay is told of one's tracks, with a relay that is made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TertuliaError } from '../../web/sdk/error.js';
import { Announcements } from '../../web/sdk/media/send/announcements.js';

/** A track whose encoder is made up. */
function track() {
  return {
    id: 0, isMuted: false, isAnnouncedMuted: false, isOver: false, wasPublished: false, info: 'info', track: 'track',
    wanted: /** @type {unknown[]} */ ([]),
    published(/** @type {number} */ id) { this.id = id; },
    layersWanted(/** @type {unknown} */ wanted) { this.wanted.push(wanted); },
  };
}

/** @param {(request: any) => unknown} [answer] what the relay answers; throws what it refuses with */
function start(answer = ({ type }) => (type === 'publish' ? { type: 'published', track: 7 } : { type: 'done' })) {
  const asked = /** @type {any[]} */ ([]);
  const told = /** @type {string[]} */ ([]);
  const announcements = new Announcements(/** @type {any} */ ({
    ask: async (/** @type {any} */ request) => {
      asked.push(request);
      return answer(request);
    },
    emit: (/** @type {string} */ type) => void told.push(type),
  }));
  announcements.begin();
  return { announcements, asked, told };
}

/** @param {import('../../web/sdk/error.js').ErrorCode} code */
const refusing = (code) => () => { throw new TertuliaError(code, 'No.'); };
const any = (/** @type {unknown} */ value) => /** @type {any} */ (value);

test('a track is announced, gets its id, and is told to the program once', async () => {
  const { announcements, asked, told } = start();
  const one = track();
  await announcements.announce(any(one));
  await announcements.announce(any(one));
  assert.deepEqual([one.id, told, asked], [7, ['localTrackPublished'], [{ type: 'publish', track: 'info' }, { type: 'publish', track: 'info' }]]);
});

test('one that is muted is said to be so', async () => {
  const { announcements, asked } = start();
  const one = { ...track(), isMuted: true };
  await announcements.announce(any(one));
  await announcements.tellMuted(any(one));
  assert.deepEqual(asked.slice(1), [{ type: 'setMuted', track: 7, muted: true }]);
});

test('what is wanted of a track before its id is known is kept for it', async () => {
  const one = track();
  const { announcements } = start(() => {
    announcements.layersWanted(undefined, { track: 7, spatialLayers: 1, temporalLayer: 0 });
    return { type: 'published', track: 7 };
  });
  await announcements.announce(any(one));
  assert.deepEqual(one.wanted, [{ track: 7, spatialLayers: 1, temporalLayer: 0 }]);
});

test('what is said of tracks that never come is bounded', () => {
  const { announcements } = start();
  const one = track();
  for (let id = 1; id <= 1000; id++) announcements.layersWanted(undefined, { track: id, spatialLayers: 1, temporalLayer: 0 });
  announcements.layersWanted(any(one), { track: 5, spatialLayers: 2, temporalLayer: 0 });
  assert.equal(one.wanted.length, 1);
});

test('a session that ends before the answer is no failure: the next announces it', async () => {
  for (const code of /** @type {const} */ (['not_connected', 'connection_lost'])) {
    const { announcements, told } = start(refusing(code));
    const one = track();
    await announcements.announce(any(one));
    assert.deepEqual([one.id, told], [0, []]);
  }
});

test('what the relay refuses is', async () => {
  const { announcements } = start(refusing('not_allowed'));
  await assert.rejects(announcements.announce(any(track())), { code: 'not_allowed' });
});

test('one that was given up while it was announced is withdrawn', async () => {
  const one = track();
  const { announcements, asked, told } = start(({ type }) => {
    one.isOver = true;
    return type === 'publish' ? { type: 'published', track: 7 } : { type: 'done' };
  });
  await announcements.announce(any(one));
  assert.deepEqual([asked[1], told], [{ type: 'unpublish', track: 7 }, []]);
});

test('a track that the relay still knows is told what changed meanwhile', async () => {
  const { announcements, asked } = start();
  const one = { ...track(), isMuted: true };
  await announcements.resume(any(one), any({ track: 3, muted: false }));
  assert.deepEqual([one.id, asked], [3, [{ type: 'setMuted', track: 3, muted: true }]]);
});

test('without a session nothing is asked', async () => {
  const { announcements, asked } = start();
  announcements.end();
  const one = { ...track(), id: 7, isMuted: true };
  await announcements.announce(any(one));
  await announcements.tellMuted(any(one));
  await announcements.withdraw(7);
  assert.deepEqual(asked, []);
});
