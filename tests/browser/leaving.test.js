// Someone who leaves before the connection stands does not come in after all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Room } from '../../web/sdk/room.js';

/** Addresses that were asked for. @type {string[]} */
const fetched = [];
globalThis.fetch = async (url) => {
  fetched.push(String(url));
  throw new TypeError('There is no network here.');
};

for (const encryptionKey of [undefined, 'AAECAwQFBgcICQoLDA0ODw']) {
  test(`leaving at once, ${encryptionKey ? 'with' : 'without'} a key`, async () => {
    const room = new Room({ name: 'Ana', encryptionKey });
    const connected = room.connect('https://relay.example/r/standup');
    room.disconnect();
    await assert.rejects(connected, { code: 'left' });
    assert.deepEqual([room.state, fetched], ['disconnected', []]);
  });
}

test('a room that was left can be joined again', async () => {
  const room = new Room({ name: 'Ana' });
  const left = room.connect('https://relay.example/r/standup');
  room.disconnect();
  await assert.rejects(left, { code: 'left' });
  await assert.rejects(room.connect('https://relay.example/r/standup'), (/** @type {any} */ { code }) => code !== 'left');
  assert.equal(fetched.length > 0, true);
});
