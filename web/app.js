/** The meeting page: a landing where one says a name, and the room. */
import { Room } from './sdk/tertulia.js';
import { showBadge, showStatus } from './page/connection.js';
import { showComposer } from './page/composer.js';
import { find } from './page/element.js';
import { showMessages } from './page/messages.js';
import { rememberName, rememberedName } from './page/preferences.js';
import { showRoster } from './page/roster.js';

const LOBBY = 'lobby';
const COPIED_MS = 2000;

/** The room that the address names. @param {string} path */
function roomOfPath(path) {
  return /^\/r\/([A-Za-z0-9_-]{1,128})\/?$/.exec(path)?.[1] ?? LOBBY;
}

/** @param {'landing' | 'meeting'} screen */
function showScreen(screen) {
  document.body.dataset.screen = screen;
  find('landing', HTMLElement).hidden = screen !== 'landing';
  find('meeting', HTMLDivElement).hidden = screen !== 'meeting';
}

/** @param {string} name @param {string} roomName */
function enter(name, roomName) {
  const room = new Room({ name, room: roomName, transport: new URLSearchParams(location.search).get('transport') });
  // `connect` rejects with what the `closed` event says too; the page shows that.
  const join = () => void room.connect(location.href).then(() => find('text', HTMLTextAreaElement).focus(), () => {});
  document.title = `${roomName} · Tertulia`;
  find('room-title', HTMLHeadingElement).textContent = roomName;
  showScreen('meeting');
  showRoster(room);
  showBadge(room);
  showStatus(room, join);
  showComposer(room, showMessages(room).send);
  find('leave', HTMLButtonElement).onclick = () => room.disconnect();
  addEventListener('pagehide', () => room.disconnect());
  join();
}

function showLanding() {
  const name = find('name', HTMLInputElement);
  const room = find('room', HTMLInputElement);
  name.value = rememberedName();
  room.value = roomOfPath(location.pathname);
  room.onchange = () => (room.value = room.value.trim().replace(/\s+/g, '-'));
  find('join-form', HTMLFormElement).onsubmit = (event) => {
    event.preventDefault();
    rememberName(name.value.trim());
    history.replaceState(null, '', `/r/${room.value}${location.search}`);
    enter(name.value.trim(), room.value);
  };
  (name.value ? find('join', HTMLButtonElement) : name).focus();
}

function showCopyLink() {
  const button = find('copy-link', HTMLButtonElement);
  button.onclick = async () => {
    const copied = await navigator.clipboard?.writeText(location.origin + location.pathname).then(() => true, () => false);
    button.textContent = copied ? 'Copied' : 'Copy it from the address bar';
    setTimeout(() => (button.textContent = 'Copy link'), COPIED_MS);
  };
}

showCopyLink();
showLanding();
