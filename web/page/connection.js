/** How the page reaches the relay: the badge, and in words what happens when it does not. */
import { find } from './element.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */

const NAMES = { webtransport: 'WebTransport', websocket: 'WebSocket' };
const STATES = { connecting: 'Connecting', connected: 'Connected', reconnecting: 'Reconnecting', disconnected: 'Not connected' };

/** How long the page says that it is back, in milliseconds. */
const BACK_MS = 3000;

/** @param {Room} room */
export function showBadge(room) {
  const badge = find('badge', HTMLParagraphElement);
  const show = () => {
    document.body.dataset.state = badge.dataset.state = room.state;
    const { carrier, roundTripMs } = room;
    const trip = roundTripMs === null ? '' : ` · ${Math.max(1, Math.round(roundTripMs))} ms`;
    badge.textContent = carrier ? NAMES[carrier] + trip : STATES[room.state];
  };
  room.on('stateChanged', show).on('roundTrip', show);
  show();
}

/**
 * Says in words where the connection stands.
 * @param {Room} room
 * @param {() => void} joinAgain
 */
export function showStatus(room, joinAgain) {
  const status = find('status', HTMLDivElement);
  const again = find('again', HTMLButtonElement);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let quiet;
  const say = (/** @type {string} */ kind, /** @type {string} */ title, /** @type {string} */ text, reason = '') => {
    clearTimeout(quiet);
    status.dataset.kind = kind;
    status.dataset.reason = reason;
    find('status-title', HTMLElement).textContent = title;
    find('status-text', HTMLSpanElement).textContent = text;
    // Who was removed cannot come back.
    again.hidden = kind !== 'ended' || reason === 'removed';
  };
  again.onclick = joinAgain;
  room.on('stateChanged', (state) => {
    if (state === 'connecting') say('working', 'Joining…', '');
    if (state === 'connected') say('', '', '');
  });
  room.on('reconnecting', ({ reason, message }) => {
    say('working', 'Reconnecting…', `${message} What you write meanwhile is sent when you are back.`, reason);
  });
  room.on('reconnected', () => {
    say('back', 'You are back.', '');
    quiet = setTimeout(() => say('', '', ''), BACK_MS);
  });
  room.on('disconnected', ({ reason, message }) => {
    if (reason === 'left') say('ended', 'You left.', 'The room is still there.', reason);
    else say('ended', '', message, reason);
  });
}
