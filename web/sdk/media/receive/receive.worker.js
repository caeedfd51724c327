/** The worker in which all that is subscribed to is put together, decoded and drawn. */
import { Reception } from './reception.js';

/** @typedef {import('./reception.js').ToReception} ToReception */
/** The first message. @typedef {{ type: 'begin', encryption: { secret: string, room: string } | null }} Begin */

/** @type {Reception | null} */
let reception = null;

/** @param {MessageEvent<Uint8Array[] | ToReception | Begin>} event */
onmessage = ({ data }) => {
  // Datagrams come as they are: there are many of them.
  if (Array.isArray(data)) data.forEach(take);
  else if (data.type === 'begin') reception = new Reception((message) => postMessage(message), data.encryption && cipherOf(data.encryption));
  else reception?.handle(data);
};

/** One that goes wrong costs the others nothing. @param {Uint8Array} datagram */
function take(datagram) {
  try {
    reception?.handle({ type: 'media', datagram });
  } catch (error) {
    reportError(error);
  }
}

/** @param {{ secret: string, room: string }} encryption @returns {import('./opening.js').Cipher} */
function cipherOf({ secret, room }) {
  const created = import('../encryption.js').then(({ FrameCipher }) => FrameCipher.create(secret, room));
  // Who has the secret of the link is told so frame by frame.
  created.catch(() => {});
  return { decrypt: async (header, payload) => (await created).decrypt(header, payload) };
}
