/** How the page reaches the relay: the badge, and what to do when it does not. */
import { find } from './element.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */

const NAMES = { webtransport: 'WebTransport', websocket: 'WebSocket' };

/** @param {Room} room */
export function showBadge(room) {
  const badge = find('badge', HTMLParagraphElement);
  const show = () => {
    badge.dataset.state = room.state;
    const { carrier, roundTripMs } = room;
    const trip = roundTripMs === null ? '' : ` · ${Math.max(1, Math.round(roundTripMs))} ms`;
    badge.textContent = carrier ? NAMES[carrier] + trip : room.state === 'connecting' ? 'Connecting' : 'Not connected';
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
  const say = (/** @type {string} */ kind, /** @type {string} */ title, /** @type {string} */ text) => {
    status.hidden = kind === '';
    status.dataset.kind = kind;
    find('status-title', HTMLElement).textContent = title;
    find('status-text', HTMLSpanElement).textContent = text;
    again.hidden = kind !== 'closed';
  };
  again.onclick = joinAgain;
  room.on('stateChanged', (state) => {
    if (state === 'connecting') say('connecting', 'Joining…', '');
    if (state === 'connected') say('', '', '');
  });
  room.on('closed', ({ code, message }) => {
    status.dataset.code = code;
    say('closed', code === 'left' ? 'You left.' : 'The connection ended.', code === 'left' ? 'The room is still there.' : message);
  });
}
