// When datagrams leave, in made-up time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BURST_DATAGRAMS_MAX, BURST_GAP_MS_MIN, Pacer, WAITING_DATAGRAMS_MAX } from '../../web/sdk/media/send/pacer.js';

const datagrams = (/** @type {number} */ count) => Array.from({ length: count }, () => new Uint8Array(1));

/** A pacer, its clock, and what left when. */
function start() {
  const log = /** @type {{ atMs: number, count: number, tag: string }[]} */ ([]);
  const timers = /** @type {{ atMs: number, wake: () => void }[]} */ ([]);
  let nowMs = 0;
  const pacer = new Pacer({
    send: ({ datagrams, tag }) => void log.push({ atMs: nowMs, count: datagrams.length, tag: /** @type {string} */ (tag) }),
    later: (wake, ms) => timers.push({ atMs: nowMs + ms, wake }),
  });
  const runUntil = (/** @type {number} */ ms) => {
    for (;;) {
      timers.sort((a, b) => a.atMs - b.atMs);
      if (timers.length === 0 || timers[0].atMs > ms) break;
      const { atMs, wake } = /** @type {{ atMs: number, wake: () => void }} */ (timers.shift());
      nowMs = atMs;
      wake();
    }
    nowMs = ms;
  };
  return { pacer, log, runUntil };
}

test('a small frame leaves at once', () => {
  const { pacer, log } = start();
  assert.equal(pacer.push({ datagrams: datagrams(3), tag: 'a' }, 33), true);
  assert.deepEqual(log, [{ atMs: 0, count: 3, tag: 'a' }]);
});

test('a keyframe leaves in bursts, over half of the interval', () => {
  const { pacer, log, runUntil } = start();
  pacer.push({ datagrams: datagrams(28), tag: 'key' }, 40);
  runUntil(100);
  assert.deepEqual(log.map(({ count }) => count), [BURST_DATAGRAMS_MAX, BURST_DATAGRAMS_MAX, BURST_DATAGRAMS_MAX, 4]);
  assert.deepEqual(log.map(({ atMs }) => atMs), [0, 5, 10, 15]);
});

test('a huge frame takes longer rather than larger bursts', () => {
  const { pacer, log, runUntil } = start();
  pacer.push({ datagrams: datagrams(200), tag: 'key' }, 33);
  runUntil(1000);
  assert.ok(log.every(({ count }) => count <= BURST_DATAGRAMS_MAX));
  assert.equal(log[24].atMs, 24 * BURST_GAP_MS_MIN);
});

test('audio does not wait behind video', () => {
  const { pacer, log, runUntil } = start();
  pacer.push({ datagrams: datagrams(40), tag: 'video' }, 33);
  runUntil(6);
  pacer.urgent({ datagrams: datagrams(1), tag: 'audio' });
  assert.deepEqual(log[log.length - 1], { atMs: 6, count: 1, tag: 'audio' });
});

test('frames leave in their order', () => {
  const { pacer, log, runUntil } = start();
  for (const tag of ['a', 'b', 'c']) pacer.push({ datagrams: datagrams(10), tag }, 33);
  runUntil(1000);
  assert.deepEqual(log.map(({ tag }) => tag), ['a', 'a', 'b', 'b', 'c', 'c']);
});

test('what waits is bounded, and can be forgotten', () => {
  const { pacer, log, runUntil } = start();
  assert.equal(pacer.push({ datagrams: datagrams(WAITING_DATAGRAMS_MAX), tag: 'a' }, 33), true);
  assert.equal(pacer.push({ datagrams: datagrams(2048), tag: 'b' }, 33), false);
  pacer.clear();
  runUntil(1000);
  assert.equal(log.length, 1);
  assert.equal(pacer.push({ datagrams: datagrams(1), tag: 'c' }, 33), true);
  assert.equal(log[1].tag, 'c');
});

test('where the carrier paces by itself, frames leave whole', () => {
  const { pacer, log } = start();
  pacer.isWhole = true;
  pacer.push({ datagrams: datagrams(100), tag: 'key' }, 33);
  assert.deepEqual(log, [{ atMs: 0, count: 100, tag: 'key' }]);
});
