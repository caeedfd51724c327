/** A session over WebSocket: the first byte of each binary message says what it is. */
import { Inbox, LOST } from './carrier.js';
import { unreachable } from './deadline.js';
import { PREFIX_BYTES, STREAM_KIND, reasonOfWebSocketCode, webSocketCodeOfReason } from './wire.js';

/** @typedef {import('./carrier.js').Session} Session */

const SUBPROTOCOL = 'tertulia.v1';
/** Media is left out while this much waits to leave, in bytes: a second at 6 Mbit/s. Who sends media leaves it out long before. */
const BUFFERED_BYTES_MAX = 768 * 1024;

/**
 * @param {string} url
 * @param {{ signal: AbortSignal }} options
 * @returns {Promise<Session>}
 */
export function openWebSocket(url, { signal }) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, SUBPROTOCOL);
    socket.binaryType = 'arraybuffer';
    const fail = () => {
      socket.close();
      reject(unreachable());
    };
    socket.onclose = fail;
    signal.addEventListener('abort', fail, { once: true });
    socket.onopen = () => {
      signal.removeEventListener('abort', fail);
      resolve(session(socket));
    };
  });
}

/** @param {WebSocket} socket @returns {Session} */
function session(socket) {
  const inbox = new Inbox();
  let leftOut = 0;
  /** @param {Uint8Array<ArrayBuffer>} datagram */
  const sendDatagram = (datagram) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (socket.bufferedAmount < BUFFERED_BYTES_MAX) socket.send(datagram);
    else leftOut++;
  };
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer && data.byteLength > 0) receive(new Uint8Array(data), inbox);
  };
  socket.onclose = ({ code, reason }) => inbox.end(reasonOfWebSocketCode(code), reason || LOST);
  return {
    carrier: 'websocket',
    send(stream, message) {
      const bytes = new Uint8Array(1 + message.length);
      bytes[0] = STREAM_KIND[stream];
      bytes.set(message, 1);
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes);
    },
    sendDatagram,
    sendOnStream: (datagrams) => datagrams.forEach(sendDatagram),
    sendAhead: (datagrams) => datagrams.forEach(sendDatagram),
    datagramsLeftOut: () => leftOut,
    leftOutOnStreams: () => 0,
    framesOnStreams: () => ({ in: 0, out: 0 }),
    bufferedBytes: () => socket.bufferedAmount,
    listen: (listener) => inbox.listen(listener),
    close() {
      inbox.end('left', 'You left the room.');
      socket.close(webSocketCodeOfReason('connection_lost'));
    },
  };
}

/** @param {Uint8Array} bytes @param {Inbox} inbox */
function receive(bytes, inbox) {
  const body = bytes.subarray(PREFIX_BYTES);
  if (bytes[0] === STREAM_KIND.media) inbox.media(body);
  else if (bytes[0] === STREAM_KIND.control) inbox.message('control', body);
  else if (bytes[0] === STREAM_KIND.chat) inbox.message('chat', body);
}
