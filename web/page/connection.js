/** How the page reaches the relay: the badge, and in words what happens when it does not. */
import { announce } from './announcer.js';
import { find, setText } from './element.js';
import { milliseconds, share } from './figures.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */

const NAMES = { webtransport: 'WebTransport', websocket: 'WebSocket' };
const STATES = { connecting: 'Connecting', connected: 'Connected', reconnecting: 'Reconnecting', disconnected: 'Not connected' };

/** Why the session runs over WebSocket. @type {Record<string, string>} */
const REASONS = {
  udp_blocked: 'UDP is blocked on this network',
  no_webtransport: 'this relay or browser has no WebTransport',
  browser: 'this browser works better that way',
  chosen: 'the link asks for it',
};

/** The same as briefly as the badge needs it on a telephone. */
const BRIEFLY = /** @type {Record<string, string>} */ ({ ...REASONS, udp_blocked: 'UDP is blocked', no_webtransport: 'no WebTransport here', browser: 'better in this browser' });

/** Why a page ends that a relay does not understand. */
const OTHER_VERSION = 'version_unsupported';

const UNREACHABLE = 'relay_unreachable';
/** A try that failed so says less than why the session broke, until it stays so. */
const SILENT = new Set([UNREACHABLE, 'connection_lost']);
/** A relay that starts again is away for a moment: that it is silent is told after so many tries, in about ten seconds. */
const SILENT_TRIES_MAX = 5;

/** How long the page says that it is back, in milliseconds. */
const BACK_MS = 3000;

/** @param {Room['carrier']} carrier @param {string | null} reason */
export function reasonInWords(carrier, reason) {
  if (!carrier) return 'Not connected at the moment.';
  if (carrier === 'webtransport') return 'Over WebTransport: what comes late is left out, and the rest stays fresh.';
  const why = REASONS[reason ?? ''];
  return `Over WebSocket${why ? `, because ${why}` : ''}. Sound and pictures may come a little later when the network is busy.`;
}

/** @param {Room} room */
export function showBadge(room) {
  const badge = find('badge', HTMLButtonElement);
  /** Of what the relay sent, from 0 to 1. @type {number | null} */
  let loss = null;
  const show = () => {
    document.body.dataset.state = badge.dataset.state = room.state;
    badge.dataset.quiet = String(room.isQuiet);
    badge.textContent = badgeText(room, loss);
  };
  room.on('quietChanged', ({ quiet }) => {
    show();
    if (quiet) announce('The network is silent.');
  });
  room.on('stateChanged', show).on('roundTrip', show).on('statistics', ({ lossIn }) => {
    loss = lossIn;
    show();
  });
  show();
}

/** @param {Room} room @param {number | null} loss */
function badgeText({ carrier, roundTripMs, state, carrierReason, isQuiet }, loss) {
  if (!carrier) return STATES[state];
  if (isQuiet) return `${NAMES[carrier]} · the network is silent`;
  const why = carrier === 'websocket' ? BRIEFLY[carrierReason ?? ''] ?? null : null;
  const figures = [roundTripMs === null ? null : milliseconds(roundTripMs), loss === null ? null : share(loss)];
  return [NAMES[carrier], why, ...figures].filter((part) => part !== null).join(' · ');
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
    setText(find('status-title', HTMLElement), title);
    setText(find('status-text', HTMLSpanElement), text);
    // Who was removed cannot come back.
    again.hidden = kind !== 'ended' || reason === 'removed';
    again.textContent = reason === OTHER_VERSION ? 'Reload the page' : 'Join again';
    find('home', HTMLAnchorElement).hidden = kind !== 'ended';
  };
  // A page of another version is of no use any longer: the relay has the one that is.
  again.onclick = () => (status.dataset.reason === OTHER_VERSION ? location.reload() : joinAgain());
  room.on('stateChanged', (state) => {
    if (state === 'connecting') say('working', 'Joining…', '');
    if (state === 'connected') say('', '', '');
  });
  room.on('reconnecting', ({ reason, message, attempt }) => {
    if (SILENT.has(reason) && attempt > 0 && attempt < SILENT_TRIES_MAX) return;
    const why = reason === UNREACHABLE ? 'The relay cannot be reached. Check the network.' : message;
    say('working', 'Reconnecting…', `${why} What you write meanwhile is sent when you are back.`, reason);
  });
  room.on('reconnected', () => {
    say('back', 'You are back.', '');
    quiet = setTimeout(() => say('', '', ''), BACK_MS);
  });
  room.on('disconnected', ({ reason, message }) => {
    if (reason === 'left') say('ended', 'You left.', 'The room is still there.', reason);
    else say('ended', titleOf(reason), message, reason);
    (again.hidden ? find('home', HTMLAnchorElement) : again).focus();
  });
}

/** @param {string} reason */
function titleOf(reason) {
  if (reason === 'removed') return 'Removed.';
  if (reason === 'meeting_ended') return 'The meeting is over.';
  if (reason === 'replaced') return 'You are elsewhere now.';
  if (reason === OTHER_VERSION) return 'The relay is of another version.';
  return 'You are not in the meeting.';
}
