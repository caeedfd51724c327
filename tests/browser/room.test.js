// What a room tells when its seat moves. The relay, its carriers and the time are made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Room } from '../../web/sdk/room.js';
import { decodeClientMessage, delimit, encodeServerMessage, STREAM_KIND } from '../../web/sdk/wire.js';

/** @typedef {import('../../web/sdk/wire/messages.js').ServerMessage} ServerMessage */

const SEAT_MS = 30_000;

/** @param {boolean} resumed @param {string[]} names who is there */
const arrival = (resumed, names) => /** @type {ServerMessage[]} */ ([
  {
    type: 'welcome', participant: 1, ticket: Uint8Array.of(7), seatMs: SEAT_MS, resumed, tracks: [], participants: names.length,
    chat: { epoch: 1, sequence: 0 }, locked: false, name: 'Ana',
    permissions: { publish: [], subscribe: true, chat: true, admin: false, hidden: false }, mediaBytesMax: 1000, chatBytesMax: 16384, relay: 'test',
  },
  ...names.map((name, at) => ({ type: 'participantJoined', participant: 2 + at, name, identity: null, metadata: '', kind: 'meeting', tracks: [] })),
]).map(encodeServerMessage);

/** A relay that answers one join over WebTransport, and nothing after that. @param {Uint8Array[]} answers */
const webTransportOf = (answers) => class {
  static isGone = false;
  ready;
  closed = new Promise(() => {});
  incomingUnidirectionalStreams = new ReadableStream();
  /** Whatever leaves comes back. */
  datagrams = new TransformStream();

  constructor() {
    const { isGone } = new.target;
    this.ready = isGone ? Promise.reject(new Error('blocked')) : Promise.resolve();
    new.target.isGone = true;
  }

  async createBidirectionalStream() {
    /** @type {ReadableStreamDefaultController<Uint8Array>} */
    let down;
    let isControl = false;
    let isIn = false;
    const readable = new ReadableStream({ start: (controller) => void (down = controller) });
    const writable = new WritableStream({
      write(/** @type {Uint8Array} */ bytes) {
        if (bytes.length === 1) isControl = bytes[0] === STREAM_KIND.control;
        else if (isControl && !isIn) {
          isIn = true;
          for (const answer of answers) down.enqueue(delimit(answer));
        }
      },
    });
    return { readable, writable };
  }

  close() {}
};

/** One that answers over WebSocket, also later. @param {Uint8Array[]} answers */
const webSocketOf = (answers) => class {
  static OPEN = 1;
  readyState = 1;
  bufferedAmount = 0;
  onopen = () => {};
  onmessage = (/** @type {{ data: ArrayBuffer }} */ _) => {};

  constructor() {
    queueMicrotask(() => this.onopen());
  }

  /** @param {Uint8Array} bytes */
  send(bytes) {
    if (bytes[0] !== STREAM_KIND.control) return;
    const said = decodeClientMessage(bytes.subarray(1));
    if (said.type === 'join') this.#say(answers);
    if (said.type === 'ping') this.#say([encodeServerMessage({ type: 'pong', token: said.token, relayTimeUs: 0 })]);
  }

  /** @param {Uint8Array[]} messages */
  #say(messages) {
    for (const message of messages) queueMicrotask(() => this.onmessage({ data: Uint8Array.of(STREAM_KIND.control, ...message).buffer }));
  }

  close() {}
};

/** Someone who is in over WebTransport, where nothing comes any more and WebSocket is next. @param {import('node:test').TestContext} t @param {Uint8Array[]} before @param {Uint8Array[]} next what the relay says to who joins, over each */
async function begin(t, before, next) {
  let now = 0;
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  t.mock.method(performance, 'now', () => now);
  t.mock.method(globalThis, 'fetch', async () => ({ ok: true, json: async () => ({ webtransport: 4433 }) }));
  const browser = { WebTransport: webTransportOf(before), WebSocket: webSocketOf(next), navigator: { userAgent: '' }, document: new EventTarget() };
  for (const [name, value] of Object.entries(browser)) Object.defineProperty(globalThis, name, { value, configurable: true });
  const room = new Room({ name: 'Ana' });
  t.after(() => room.disconnect());
  const told = /** @type {string[]} */ ([]);
  room.on('participantConnected', ({ name }) => void told.push(`${name} came`)).on('participantDisconnected', ({ participant }) => void told.push(`${participant.name} left`));
  room.on('reconnecting', () => void told.push('reconnecting')).on('reconnected', ({ resumed }) => void told.push(`reconnected, ${resumed ? 'resumed' : 'not resumed'}`));
  room.on('carrierChanged', ({ carrier }) => void told.push(`on ${carrier}`));
  /** @param {number} ms */
  const pass = async (ms) => {
    for (let gone = 0; gone < ms; gone += 50) {
      now += 50;
      t.mock.timers.tick(50);
      await new Promise(setImmediate);
    }
  };
  const connected = room.connect('https://relay.test/r/lobby');
  await pass(500);
  await connected;
  return { room, told, pass };
}

test('a relay that was started again while it was not heard gives those time who are on their way back', async (t) => {
  const { room, told, pass } = await begin(t, arrival(false, ['Bo']), arrival(false, []));
  assert.deepEqual([told.splice(0), room.carrier], [['Bo came'], 'webtransport']);
  await pass(5000);
  assert.deepEqual([told.splice(0), room.carrier], [['reconnected, not resumed'], 'websocket']);
  await pass(SEAT_MS);
  assert.deepEqual(told, ['Bo left']);
});
