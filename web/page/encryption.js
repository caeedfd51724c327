/** Whether a meeting is encrypted from end to end, and the key that it takes, which is in the link alone. */
import { element, find, useIcon } from './element.js';

/** What the key must have at least, in bytes. */
const KEY_BYTES_MIN = 16;

const ON = 'Sound, pictures and chat are encrypted with the key in the link. The relay passes them on and cannot open them: only those who have the whole link can.';
const OFF = 'Sound, pictures and chat are encrypted on the way to the relay and from there to the others, but the relay itself could open them. Start a “New encrypted meeting” if that matters.';

/** A new key as links have it: base64url, without padding. */
export function newKey() {
  return base64url(crypto.getRandomValues(new Uint8Array(KEY_BYTES_MIN)));
}

/** Whether a key of a link is whole: base64url of enough bytes. @param {string} key */
export function isKey(key) {
  return /^[A-Za-z0-9_-]+$/.test(key) && Math.floor(key.length * 6 / 8) >= KEY_BYTES_MIN;
}

/** Whether this page can encrypt: browsers hide what it takes from pages whose address is not secure. */
export function canEncrypt() {
  return globalThis.crypto?.subtle !== undefined;
}

/** Says so in the bar of the meeting. @param {boolean} isOn */
export function showEncryption(isOn) {
  const badge = find('encryption', HTMLButtonElement);
  const words = label(badge, isOn);
  badge.title = words;
  find('encryption-note', HTMLParagraphElement).replaceChildren(element('strong', '', `${words}. `), isOn ? ON : OFF);
}

/** Says before joining whether the meeting is encrypted. @param {boolean} isOn */
export function assure(isOn) {
  label(find('prejoin-encryption', HTMLParagraphElement), isOn);
}

/** A sign and words for it. @param {HTMLElement} place @param {boolean} isOn */
function label(place, isOn) {
  const words = isOn ? 'End-to-end encrypted' : 'Not end-to-end encrypted';
  place.dataset.on = String(isOn);
  useIcon(place, isOn ? 'lock' : 'lock-open');
  /** @type {Element} */ (place.lastElementChild).textContent = words;
  return words;
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
