// That a network blocks WebTransport is remembered for a while, of each relay, in all tabs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCKED_MS, blockedNetworks } from '../../web/sdk/blocked.js';

const kept = new Map();
const storage = {
  getItem: (/** @type {string} */ key) => kept.get(key) ?? null,
  setItem: (/** @type {string} */ key, /** @type {string} */ value) => void kept.set(key, value),
  removeItem: (/** @type {string} */ key) => void kept.delete(key),
};

test('it is remembered for ten minutes, of that relay alone, until it is forgotten', () => {
  Object.assign(globalThis, { localStorage: storage });
  let nowMs = 1_000_000;
  const networks = (/** @type {string} */ relay) => blockedNetworks(relay, () => nowMs);
  assert.equal(networks('https://a.example').isBlocked(), false);
  networks('https://a.example').remember();
  assert.deepEqual(['https://a.example', 'https://b.example'].map((relay) => networks(relay).isBlocked()), [true, false]);
  nowMs += BLOCKED_MS - 1;
  assert.equal(networks('https://a.example').isBlocked(), true);
  nowMs++;
  assert.equal(networks('https://a.example').isBlocked(), false);
  networks('https://a.example').remember();
  networks('https://a.example').forget();
  assert.equal(networks('https://a.example').isBlocked(), false);
});

test('where nothing can be kept, no network is blocked', () => {
  Object.assign(globalThis, { localStorage: { getItem() { throw new Error('forbidden'); }, setItem() { throw new Error('full'); } } });
  const network = blockedNetworks('https://a.example');
  network.remember();
  assert.equal(network.isBlocked(), false);
});
