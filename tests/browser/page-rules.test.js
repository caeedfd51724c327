// What the page decides without a browser: rules, as input and output.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { roomOfPath } from '../../web/page/address.js';
import { unheardMessages } from '../../web/page/announcer.js';
import { isKey, newKey } from '../../web/page/encryption.js';
import { bits, milliseconds, share } from '../../web/page/figures.js';
import { fit, pageOf } from '../../web/page/grid.js';
import { wayForOthers } from '../../web/page/invitation.js';
import { pathsOf } from '../../web/page/plot.js';
import { isOwnComputer, read } from '../../web/page/relay.js';
import { newRoomName } from '../../web/page/room-name.js';

const DESK = { width: 1156, height: 630, gap: 10 };
const TELEPHONE = { width: 374, height: 680, gap: 10 };

/** @param {number} count @param {typeof DESK} space */
const columnsAndSize = (count, space) => {
  const { columns, width, height, perPage } = fit(count, space);
  return [columns, width, height, perPage];
};

test('tiles are as large as they can be', () => {
  assert.deepEqual([1, 2, 3, 4, 6, 9, 16].map((count) => columnsAndSize(count, DESK)), [
    [1, 1120, 630, 1], [2, 573, 429, 2], [2, 551, 310, 3], [2, 551, 310, 4], [3, 378, 284, 6], [3, 361, 203, 9], [4, 266, 150, 16],
  ]);
  assert.deepEqual([1, 2, 3, 8].map((count) => columnsAndSize(count, TELEPHONE)), [[1, 374, 498, 1], [1, 374, 335, 2], [1, 374, 220, 3], [2, 182, 162, 8]]);
});

test('beyond what can be read there are pages', () => {
  assert.equal(fit(17, DESK).perPage, 16);
  assert.equal(fit(40, TELEPHONE).perPage, 12);
  assert.equal(fit(5, { width: 100, height: 60, gap: 10 }).perPage, 1);
  const tiles = [...'abcdefg'];
  assert.deepEqual(pageOf(tiles, 3, 0), { shown: ['a', 'b', 'c'], page: 0, pages: 3 });
  assert.deepEqual(pageOf(tiles, 3, 2), { shown: ['g'], page: 2, pages: 3 });
  assert.deepEqual(pageOf(tiles, 3, 9), { shown: ['g'], page: 2, pages: 3 }, 'a page that is gone');
  assert.deepEqual(pageOf(tiles, 3, -1), { shown: ['a', 'b', 'c'], page: 0, pages: 3 });
  assert.deepEqual(pageOf([], 3, 0), { shown: [], page: 0, pages: 1 });
});

test('a line has a gap where nothing is known', () => {
  assert.deepEqual(pathsOf([0, 10], 2, 10), { line: 'M0 64L300 0', area: 'M0 64L0 64L300 0L300 64Z' });
  assert.deepEqual(pathsOf([10, null, 5, 5], 4, 10), { line: 'M0 0M200 32L300 32', area: 'M0 64L0 0L0 64ZM200 64L200 32L300 32L300 64Z' });
  assert.deepEqual(pathsOf([null, null], 4, 10), { line: '', area: '' });
});

test('figures are what people read', () => {
  assert.deepEqual([0, 23.6, 250].map(milliseconds), ['1 ms', '24 ms', '250 ms']);
  assert.deepEqual([0, 0.0012, 0.099, 0.5].map(share), ['0.0 %', '0.1 %', '9.9 %', '50 %']);
  assert.deepEqual([0, 34_400, 1_640_000].map(bits), ['0 kbit/s', '34 kbit/s', '1.6 Mbit/s']);
});

test('a key of a link is whole, or it is none', () => {
  for (const key of [newKey(), 'AAECAwQFBgcICQoLDA0ODw', 'x'.repeat(43)]) assert.equal(isKey(key), true, key);
  for (const key of ['', 'AAECAwQFBgcICQoLDA0O', 'AAECAwQFBgcICQoLDA0OD=', 'a key with spaces in it']) assert.equal(isKey(key), false, key);
  assert.notEqual(newKey(), newKey());
});

test('the path names the room', () => {
  assert.deepEqual(['/r/standup', '/r/standup/', '/', '/r/', '/r/a/b', '/r/%20'].map(roomOfPath), ['standup', 'standup', null, null, null, null]);
  assert.equal(roomOfPath(`/r/${newRoomName()}`)?.split('-').length, 4);
});

test('a link leads others to the relay, wherever the page was opened', () => {
  const way = (/** @type {string} */ page, /** @type {Record<string, unknown>} */ said) => {
    const { origin, hostname, protocol } = new URL(page);
    return wayForOthers({ origin, hostname, isSecure: protocol === 'https:' || isOwnComputer(hostname) }, read({ webtransport: 4433, certificateSha256: null, ...said }));
  };
  const addresses = ['https://192.0.2.7:4433/', 'https://10.0.0.5:4433/'];
  const send = 'Send it to whom you want to see.';
  const warned = `${send} Their browsers may warn about this address; they can go on to the page.`;
  for (const host of ['localhost', 'app.localhost', '127.9.9.9', '[::1]']) assert.deepEqual(way(`http://${host}:8000/`, { addresses }), { origin: 'https://192.0.2.7:4433', hint: warned });
  assert.match(way('http://localhost:8000/', { addresses, certificateSha256: 'ab' }).hint, /^Send it to whom you want to see\. Their browsers will warn/);
  const here = 'It works on this computer only';
  for (const none of [[], ['javascript:alert(1)', 7]]) {
    assert.deepEqual(way('http://localhost:8000/', { addresses: none }), { origin: 'http://localhost:8000', hint: `${here}: others do not reach this relay.` });
  }
  // Others may reach it, in a container or behind a proxy: that is not told.
  for (const untold of [null, undefined, 'none']) {
    assert.deepEqual(way('http://localhost:8000/', { addresses: untold }), { origin: 'http://localhost:8000', hint: `${here}.` });
  }
  for (const page of ['https://relay.example', 'https://localhost.example', 'https://192.0.2.7.example']) assert.deepEqual(way(page, { addresses: null }), { origin: page, hint: send });
  // A certificate of an authority is for a name, and the link has none.
  for (const page of ['https://192.0.2.7:4433', 'https://[2001:db8::7]:4433']) assert.deepEqual(way(page, { addresses: null }), { origin: page, hint: warned });
  assert.deepEqual(way('http://192.0.2.7:8000/', { addresses: null }), { origin: 'https://192.0.2.7:4433', hint: warned });
  assert.deepEqual(way('http://relay.example:8000/', { addresses: null }), { origin: 'https://relay.example:4433', hint: send });
  assert.deepEqual(way('http://192.0.2.7:8000/', { webtransport: null }), { origin: 'http://192.0.2.7:8000', hint: send });
});

test('messages that come one upon the other are said one at a time', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const said = /** @type {string[]} */ ([]);
  const unheard = unheardMessages((text) => void said.push(text));
  for (const text of ['one', 'two', 'three']) unheard.came('Bo', text);
  assert.deepEqual(said.splice(0), ['Bo: one']);
  t.mock.timers.tick(5000);
  assert.deepEqual(said.splice(0), ['2 new messages. Bo: three']);
  unheard.came('Carmen', 'x'.repeat(10_000));
  unheard.seen();
  t.mock.timers.tick(5000);
  unheard.came('Carmen', 'x'.repeat(10_000));
  assert.deepEqual([said.length, said[0].length], [1, 'Carmen: '.length + 161]);
});
