// Chat over sessions that break: what is said once arrives once, and in order.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chat, PENDING_MAX, RETRY_MS } from '../../web/sdk/chat.js';
import { IDS_MAX, MESSAGES_MAX, Transcript } from '../../web/sdk/transcript.js';
import { decodeClientChat } from '../../web/sdk/wire.js';

const OWN = 1;
/** @param {number} byte */
const id = (byte) => new Uint8Array(16).fill(byte);
/** @param {number} byte */
const hex = (byte) => byte.toString(16).padStart(2, '0').repeat(16);

/** Reverses the text, a little later, and opens what it sealed under the same id. */
const mirror = {
  encrypt: async (/** @type {Uint8Array} */ messageId, /** @type {string} */ text) => `e2ee1:${messageId[0]}:${[...text].reverse().join('')}`,
  decrypt: async (/** @type {Uint8Array} */ messageId, /** @type {string} */ body) => {
    const [, sealedAs, text] = body.split(':');
    if (sealedAs !== String(messageId[0])) throw new Error('another message');
    return [...text].reverse().join('');
  },
};

/** A chat, what it sent, and what it told. @param {import('../../web/sdk/chat.js').Cipher} [cipher] */
function chatRoom(cipher) {
  const sent = /** @type {string[]} */ ([]);
  const told = /** @type {string[]} */ ([]);
  let isOpen = true;
  const chat = new Chat({
    isOpen: () => isOpen,
    send: (bytes) => {
      const message = decodeClientChat(bytes);
      sent.push(message.type === 'send' ? message.body : 'typing');
    },
    self: () => ({ id: OWN, name: 'Ana' }),
    cipher: cipher ? Promise.resolve(cipher) : null,
    received: ({ text, own }) => void told.push(own ? `${text} (own)` : text),
  });
  /** @param {number} epoch @param {number} sequence the last that there is */
  const begin = (epoch, sequence, replay = () => {}) => {
    chat.joined({ epoch, sequence }, 100);
    replay();
    chat.caughtUp({ type: 'caughtUp', position: { epoch, sequence }, firstKept: 1 });
  };
  /** @param {number} sequence @param {number} byte @param {string} body */
  const hear = (sequence, byte, body, from = 2) =>
    chat.message({ type: 'message', sequence, messageId: id(byte), sentAtMs: 0, from, fromName: 'Bo', to: null, body });
  /** @param {number} sequence @param {number} byte */
  const accept = (sequence, byte) => chat.accepted({ type: 'accepted', messageId: id(byte), sequence, sentAtMs: 0 });
  return { chat, sent, told, begin, hear, accept, end: (/** @type {import('../../web/sdk/error.js').ErrorCode} */ code) => { isOpen = false; chat.closed(code); } };
}

test('a message resolves once it is kept, and stands among the others', async () => {
  const { chat, sent, told, begin, hear, accept } = chatRoom();
  begin(1, 0);
  const said = chat.send('hello', { messageId: hex(1) });
  hear(1, 2, 'before');
  accept(2, 1);
  accept(2, 1);
  assert.equal((await said).sequence, 2);
  assert.deepEqual([sent, told], [['hello'], ['before', 'hello (own)']]);
  assert.deepEqual(chat.position, { epoch: 1, sequence: 2 });
});

test('what was not acknowledged goes again after the break, with the same id and in order, behind what was missed', async () => {
  const { chat, sent, told, begin, hear, accept } = chatRoom();
  begin(1, 0);
  const all = [1, 2, 3].map((byte) => chat.send(`m${byte}`, { messageId: hex(byte) }));
  chat.interrupted();
  all.push(chat.send('m4', { messageId: hex(4) }));
  assert.deepEqual(sent.splice(0), ['m1', 'm2', 'm3']);
  // The first had arrived: it comes in the replay, which is its acknowledgement.
  begin(1, 2, () => {
    hear(1, 1, 'm1', OWN);
    all.push(chat.send('m5', { messageId: hex(5) }));
    hear(2, 9, 'missed');
    assert.deepEqual(sent, []);
  });
  // One by one, so that they stay in order whatever the relay makes of each.
  for (const byte of [2, 3, 4, 5]) {
    assert.deepEqual(sent.splice(0), [`m${byte}`]);
    accept(byte + 1, byte);
  }
  assert.deepEqual((await Promise.all(all)).map(({ sequence }) => sequence), [1, 3, 4, 5, 6]);
  assert.deepEqual(told, ['m1 (own)', 'missed', 'm2 (own)', 'm3 (own)', 'm4 (own)', 'm5 (own)']);
});

test('what waited and comes too fast for the relay goes a little later, and what is said meanwhile after it', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { chat, sent, begin, accept, end } = chatRoom();
  const refuse = (/** @type {number} */ byte, /** @type {import('../../web/sdk/wire/reasons.js').RefuseReason} */ reason) => chat.refused({ type: 'refused', messageId: id(byte), reason, message: '' });
  begin(1, 0);
  chat.interrupted();
  const waited = [1, 2].map((byte) => chat.send(`m${byte}`, { messageId: hex(byte) }));
  begin(1, 0);
  const last = chat.send('m3', { messageId: hex(3) });
  for (const reason of /** @type {const} */ (['chat_too_fast', 'chat_busy'])) {
    refuse(1, reason);
    assert.deepEqual(sent.splice(0), ['m1']);
    t.mock.timers.tick(RETRY_MS);
  }
  accept(1, 1);
  accept(2, 2);
  assert.deepEqual(sent.splice(0), ['m1', 'm2', 'm3']);
  assert.deepEqual((await Promise.all(waited)).map(({ sequence }) => sequence), [1, 2]);
  accept(3, 3);
  await last;
  // What was said on a connection that is there is refused.
  const hasty = chat.send('m4', { messageId: hex(4) });
  refuse(4, 'chat_too_fast');
  await assert.rejects(hasty, { code: 'chat_too_fast' });
  // After the end nothing leaves any more.
  chat.interrupted();
  const never = chat.send('m5', { messageId: hex(5) });
  begin(1, 3);
  refuse(5, 'chat_busy');
  end('left');
  t.mock.timers.tick(RETRY_MS);
  await assert.rejects(never, { code: 'left' });
  assert.deepEqual(sent, ['m4', 'm5']);
});

test('a history that began anew tells nothing twice', () => {
  const { chat, told, begin, hear } = chatRoom();
  begin(1, 0);
  hear(1, 1, 'one');
  hear(2, 2, 'two');
  chat.interrupted();
  begin(7, 2, () => {
    hear(1, 2, 'two');
    hear(2, 3, 'three');
  });
  assert.deepEqual(told, ['one', 'two', 'three']);
  assert.deepEqual(chat.position, { epoch: 7, sequence: 2 });
});

test('a message that could not be kept is there, and its sender learns it', async () => {
  const { chat, told, begin, hear } = chatRoom();
  begin(1, 0);
  const said = chat.send('hello', { messageId: hex(1) });
  hear(0, 2, 'from Bo');
  chat.notKept({ type: 'notKept', messageId: id(1), sentAtMs: 0 });
  await assert.rejects(said, { code: 'chat_not_kept' });
  assert.deepEqual([told, chat.messages().map(({ kept }) => kept), chat.position.sequence], [['from Bo', 'hello (own)'], [false, false], 0]);
});

test('a refusal and an end say why', async () => {
  const { chat, begin, end } = chatRoom();
  begin(1, 0);
  const fast = chat.send('fast', { messageId: hex(1) });
  chat.refused({ type: 'refused', messageId: id(1), reason: 'not_allowed', message: 'no' });
  await assert.rejects(fast, { code: 'not_allowed', message: /access token/ });
  const late = chat.send('late', { messageId: hex(2) });
  end('meeting_ended');
  await assert.rejects(late, { code: 'meeting_ended' });
  await assert.rejects(chat.send('later'), { code: 'not_connected' });
});

test('what cannot be sent is refused at once', async () => {
  const { chat, begin } = chatRoom();
  begin(1, 0);
  await assert.rejects(chat.send(''), { code: 'chat_empty' });
  await assert.rejects(chat.send('x'.repeat(101)), { code: 'chat_too_long' });
  chat.send('once', { messageId: hex(1) }).catch(() => {});
  await assert.rejects(chat.send('once', { messageId: hex(1) }), { code: 'chat_pending' });
  for (let more = 1; more < PENDING_MAX; more++) chat.send('more').catch(() => {});
  await assert.rejects(chat.send('too many'), { code: 'chat_busy' });
});

/** @param {import('../../web/sdk/chat.js').Chat} chat @param {number} sequence @param {number} byte @param {string} body */
function hearSealed(chat, sequence, byte, body, isCurrent = () => true) {
  const said = /** @type {const} */ ({ type: 'message', sequence, messageId: id(byte), sentAtMs: 0, from: 2, fromName: 'Bo', to: null, body });
  return new Promise((resolve) => {
    const current = () => {
      if (!isCurrent()) resolve('told again later');
      return isCurrent();
    };
    chat.hear(said, current, (taken) => {
      if (taken.type === 'message') chat.message(taken);
      resolve('taken');
    });
  });
}

test('with a key, the relay carries what it cannot read, in the order in which it was said', async () => {
  const { chat, sent, begin, accept } = chatRoom(mirror);
  begin(1, 0);
  const said = [chat.send('abc', { messageId: hex(1) }), chat.send('def', { messageId: hex(2) })];
  while (sent.length < 2) await Promise.resolve();
  accept(1, 1);
  accept(2, 2);
  await Promise.all(said);
  assert.deepEqual(sent, ['e2ee1:1:cba', 'e2ee1:2:fed']);
  await hearSealed(chat, 3, 3, 'e2ee1:3:ihg');
  await hearSealed(chat, 4, 4, 'e2ee1:9:ihg');
  await hearSealed(chat, 5, 5, 'open');
  assert.deepEqual(chat.messages().map(({ text, protection }) => [text, protection]), [
    ['abc', 'encrypted'], ['def', 'encrypted'], ['ghi', 'encrypted'], ['', 'unreadable'], ['open', 'none'],
  ]);
  assert.deepEqual(chat.messages({ since: 3 }).map(({ sequence }) => sequence), [4, 5]);
});

test('what is sealed while the connection is broken goes when it is back, and what was heard before the break is told again', async () => {
  const { chat, sent, begin } = chatRoom(mirror);
  begin(1, 0);
  chat.interrupted();
  void chat.send('abc', { messageId: hex(1) });
  assert.equal(await hearSealed(chat, 1, 2, 'e2ee1:2:x', () => false), 'told again later');
  assert.deepEqual([sent, chat.position.sequence], [[], 0]);
  begin(1, 0);
  assert.deepEqual(sent, ['e2ee1:1:cba']);
});

test('without a key, what is sealed is not shown as text', () => {
  const { chat, begin, hear } = chatRoom();
  begin(1, 0);
  hear(1, 2, 'e2ee1:2:x');
  assert.deepEqual([chat.messages()[0].text, chat.messages()[0].protection], ['', 'unreadable']);
});

test('the late acknowledgement of a repetition stands where the others have it', () => {
  const transcript = new Transcript();
  transcript.begin(1);
  const add = (/** @type {number} */ sequence, /** @type {string} */ messageId) =>
    transcript.add({ sequence, messageId, sentAt: new Date(0), from: 2, fromName: 'Bo', to: null, text: messageId, own: false, protection: 'none' });
  for (const [sequence, messageId] of /** @type {[number, string][]} */ ([[1, 'a'], [3, 'c'], [0, 'not kept'], [2, 'b'], [4, 'd']])) add(sequence, messageId);
  assert.deepEqual(transcript.messages.map(({ text }) => text), ['a', 'b', 'c', 'not kept', 'd']);
  assert.equal(transcript.position.sequence, 4);
});

test('a transcript does not grow without end', () => {
  const transcript = new Transcript();
  transcript.begin(1);
  const add = (/** @type {number} */ sequence) =>
    transcript.add({ sequence, messageId: String(sequence), sentAt: new Date(0), from: 2, fromName: 'Bo', to: null, text: '', own: false, protection: 'none' });
  for (let sequence = 1; sequence <= IDS_MAX + 1; sequence++) add(sequence);
  assert.equal(transcript.messages.length, MESSAGES_MAX);
  assert.equal(add(2), null);
  assert.notEqual(add(1), null);
});
