/** What the address says: which room, how to reach it, and in the fragment, which no server sees, the key. */

const ROOM = /^[A-Za-z0-9_-]{1,128}$/;
const PATH = /^\/r\/([A-Za-z0-9_-]{1,128})\/?$/;

/** A room to go to. @typedef {{ room: string, search: string, hash: string }} Place */

/** The room of a path such as `/r/standup`. @param {string} path @returns {string | null} */
export function roomOfPath(path) {
  return PATH.exec(path)?.[1] ?? null;
}

/** What someone typed or pasted: a link or the name of a room. @param {string} text @param {(hostname: string) => boolean} isOfRelay @returns {Place | null} */
export function placeOfText(text, isOfRelay) {
  const trimmed = text.trim();
  const name = trimmed.replace(/\s+/g, '-');
  if (ROOM.test(name)) return { room: name, search: '', hash: '' };
  const url = URL.parse(trimmed, location.href);
  const room = url && roomOfPath(url.pathname);
  return url && room && isOfRelay(url.hostname) ? { room, search: url.search, hash: url.hash } : null;
}

/** The key that the address has, as it is written there. @returns {string | null} */
export function keyOfAddress() {
  return new URLSearchParams(location.hash.slice(1)).get('key');
}

/** The link to a room of the relay at `origin`. @param {string} origin @param {string} room @param {string | null} key */
export function linkTo(origin, room, key) {
  return `${origin}/r/${room}${key ? `#key=${key}` : ''}`;
}

/** The height in lines of the picture that the address asks to send, such as `?video=360p`. @returns {number | null} */
export function videoLinesOfAddress() {
  const lines = Number(/^(180|360|720)p$/.exec(new URLSearchParams(location.search).get('video') ?? '')?.[1]);
  return lines || null;
}

/** The carrier that the address asks for. @returns {string | null} */
export function transportOfAddress() {
  return new URLSearchParams(location.search).get('transport');
}
