// The bytes of every message, against the vectors that the Rust code is tested with.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as wire from '../../web/sdk/wire.js';

/** @type {{ name: string, type: string, hex: string, value: any }[]} */
const vectors = JSON.parse(readFileSync(new URL('../golden/wire.json', import.meta.url), 'utf8'));

/** @type {Record<string, { encode: (value: any) => Uint8Array, decode: (bytes: Uint8Array) => any }>} */
const codecs = {
  ClientMessage: { encode: wire.encodeClientMessage, decode: wire.decodeClientMessage },
  ServerMessage: { encode: wire.encodeServerMessage, decode: wire.decodeServerMessage },
  ClientChat: { encode: wire.encodeClientChat, decode: wire.decodeClientChat },
  ServerChat: { encode: wire.encodeServerChat, decode: wire.decodeServerChat },
  Datagram: { encode: wire.encodeDatagram, decode: wire.decodeDatagram },
  // The zero byte is not the request's own.
  RepeatRequest: { encode: wire.encodeRepeatRequest, decode: (bytes) => wire.decodeRepeatRequest(bytes.subarray(1)) },
};

const BYTE_FIELDS = new Set(['ticket', 'messageId', 'description', 'payload']);
/** @param {string} hex */
const bytesOf = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'));
/** The value with byte arrays in place of their hexadecimal text. @param {any} json @returns {any} */
const revive = (json) =>
  JSON.parse(JSON.stringify(json), (key, value) => (BYTE_FIELDS.has(key) && typeof value === 'string' ? bytesOf(value) : value));

/** @param {() => unknown} act */
const refuses = (act) => assert.throws(act, { name: 'TertuliaError', code: 'wire_malformed' });

for (const { name, type, hex, value } of vectors) {
  const { encode, decode } = codecs[type];
  const bytes = bytesOf(hex);

  test(`${type} "${name}" is written and read as the vector says`, () => {
    assert.equal(Buffer.from(encode(revive(value))).toString('hex'), hex);
    assert.deepEqual(decode(bytes), revive(value));
  });

  // A request is whole after each thing that it asks for.
  if (type === 'Datagram' || type === 'RepeatRequest') continue;
  test(`${type} "${name}" is refused when cut or continued`, () => {
    for (let cut = 0; cut < bytes.length; cut++) refuses(() => decode(bytes.subarray(0, cut)));
    refuses(() => decode(Uint8Array.of(...bytes, 0)));
  });
}

test('a datagram without a whole header and payload is refused', () => {
  const { hex } = vectors.find(({ name }) => name === 'echo') ?? assert.fail();
  for (let cut = 0; cut <= wire.PREFIX_BYTES + wire.HEADER_BYTES; cut++) refuses(() => wire.decodeDatagram(bytesOf(hex).subarray(0, cut)));
  refuses(() => wire.decodeDatagram(new Uint8Array(wire.PREFIX_BYTES + wire.MEDIA_BYTES_MAX + 1)));
});

test('fragments beyond their count, other versions and other sessions are refused', () => {
  const good = bytesOf(vectors.find(({ name }) => name === 'video fragment')?.hex ?? '');
  wire.decodeDatagram(good);
  for (const [at, byte] of [[0, 1], [1, 0x21], [14, 3], [16, 0], [15, 0x08]]) {
    refuses(() => wire.decodeDatagram(good.with(at, byte)));
  }
});

test('reserved bits are ignored', () => {
  const good = bytesOf(vectors.find(({ name }) => name === 'video fragment')?.hex ?? '');
  const reserved = good.with(2, good[2] | 0xc0).with(12, good[12] | 0x80);
  assert.deepEqual(wire.decodeDatagram(reserved), wire.decodeDatagram(good));
});

test('a request asks for what its bits say, and one that is cut is refused', () => {
  const bytes = bytesOf(vectors.find(({ type }) => type === 'RepeatRequest')?.hex ?? '').subarray(1);
  assert.ok(wire.isRepeatRequest(bytes));
  const { wanted } = wire.decodeRepeatRequest(bytes);
  const asked = (/** @type {number} */ frame) => Array.from({ length: 20 }, (_, at) => at).filter((at) => wanted.some((one) => wire.wants(one, frame, at)));
  assert.deepEqual([asked(66050).length, asked(66051), asked(66052)], [20, [1, 2, 17], []]);
  for (let cut = 0; cut < bytes.length; cut++) if (cut !== 14) refuses(() => wire.decodeRepeatRequest(bytes.subarray(0, cut)));
  const one = { frame: 8, fragment: 3, following: 0 };
  assert.deepEqual([4, 19, 20, 2].map((fragment) => wire.addWanted(one, 8, fragment)), [true, true, false, false]);
  assert.deepEqual([3, 4, 5, 19].map((fragment) => wire.wants(one, 8, fragment)), [true, true, false, true]);
});

test('length bombs are refused without memory', () => {
  const huge = [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00];
  refuses(() => wire.decodeServerMessage(Uint8Array.of(11, 0, ...huge)));
  refuses(() => wire.decodeServerMessage(Uint8Array.of(1, 1, 0, 0, ...huge)));
  refuses(() => wire.decodeClientMessage(Uint8Array.of(0, 1, ...huge, 0x61)));
  refuses(() => wire.decodeServerMessage(new Uint8Array(wire.MESSAGE_BYTES_MAX + 1)));
});

test('numbers that JavaScript cannot hold, unknown kinds and bad text are refused', () => {
  refuses(() => wire.decodeClientMessage(Uint8Array.of(8, 0xfd, 0, 0, 0, 0, 0, 0, 0x20, 0)));
  refuses(() => wire.decodeClientMessage(Uint8Array.of(8, 0xfe, ...new Uint8Array(16))));
  refuses(() => wire.decodeServerMessage(Uint8Array.of(15)));
  refuses(() => wire.decodeServerMessage(Uint8Array.of(11, 0, 1, 0xff)));
  refuses(() => wire.decodeServerMessage(Uint8Array.of(5, 1, 2)));
  refuses(() => wire.encodeClientMessage({ type: 'ping', token: 2 ** 53 }));
});

test('a reason that a newer relay added is kept by its number', () => {
  const closing = wire.decodeServerMessage(Uint8Array.of(11, 200, 0));
  assert.deepEqual(closing, { type: 'closing', reason: 'unknown_200', message: '' });
  assert.deepEqual(wire.encodeServerMessage(closing), Uint8Array.of(11, 200, 0));
  assert.equal(wire.reasonOfWebSocketCode(4002), 'shutting_down');
  assert.equal(wire.reasonOfWebSocketCode(1006), 'connection_lost');
});

test('messages come out of a stream as they went in, however the bytes are cut', () => {
  const messages = ['one', '', 'three'].map((word) => new TextEncoder().encode(word));
  const bytes = Uint8Array.from(messages.flatMap((message) => [...wire.delimit(message)]));
  for (let cut = 0; cut <= bytes.length; cut++) {
    const buffer = new wire.MessageBuffer();
    const popped = [];
    for (const part of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
      buffer.push(part);
      for (let message = buffer.pop(); message; message = buffer.pop()) popped.push(Buffer.from(message).toString());
    }
    assert.deepEqual([popped, buffer.isMidMessage], [['one', '', 'three'], false]);
  }
});

test('an oversized message is refused by its length alone', () => {
  const buffer = new wire.MessageBuffer();
  buffer.push(Uint8Array.of(0, 1, 0, 1));
  assert.throws(() => buffer.pop(), { code: 'too_large' });
});
