/** The meeting page: a landing where one says a name, and the room. */
import { Room } from './sdk/tertulia.js';
import { showBadge, showStatus } from './page/connection.js';
import { showComposer } from './page/composer.js';
import { find } from './page/element.js';
import { asksForToken, showLanding } from './page/landing.js';
import { showMessages } from './page/messages.js';
import { showModeration } from './page/moderation.js';
import { showRoster } from './page/roster.js';
import { keepSeat, rememberedToken, takeSeat, takeTokenOfAddress } from './page/tab.js';

const LOBBY = 'lobby';
const COPIED_MS = 2000;

/** The meeting that is on, or was. @type {{ room: Room, roomName: string } | null} */
let meeting = null;

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

/** @param {{ name: string, room: string, ticket?: string }} wish @param {(error: unknown) => void} refuse */
async function enter({ name, room: roomName, ticket }, refuse) {
  const transport = new URLSearchParams(location.search).get('transport');
  const room = new Room({ name, room: roomName, token: rememberedToken, ticket, transport });
  meeting = { room, roomName };
  showMeeting(room, roomName, refuse);
  try {
    await room.connect(location.href);
    showScreen('meeting');
    find('text', HTMLTextAreaElement).focus();
  } catch (error) {
    showScreen('landing');
    refuse(error);
  }
}

/** @param {Room} room @param {string} roomName @param {(error: unknown) => void} refuse */
function showMeeting(room, roomName, refuse) {
  document.title = `${roomName} · Tertulia`;
  find('room-title', HTMLHeadingElement).textContent = roomName;
  const { send, note } = showMessages(room);
  showComposer(room, send);
  showRoster(room, note);
  showModeration(room, note);
  showBadge(room);
  showStatus(room, () => {
    // The status says what else went wrong.
    room.connect(location.href).catch((error) => {
      if (!asksForToken(error)) return;
      showScreen('landing');
      refuse(error);
    });
  });
  find('leave', HTMLButtonElement).onclick = () => room.disconnect();
}

/** What brings the next page of this tab back to the seat. */
function seat() {
  const ticket = meeting?.room.ticket;
  if (!meeting || !ticket || meeting.room.state === 'disconnected') return null;
  const { room, roomName } = meeting;
  return { room: roomName, name: room.localParticipant.name, ticket, untilMs: Date.now() + room.seatMs };
}

function showCopyLink() {
  const button = find('copy-link', HTMLButtonElement);
  button.onclick = async () => {
    const copied = await navigator.clipboard?.writeText(location.origin + location.pathname).then(() => true, () => false);
    button.textContent = copied ? 'Copied' : 'Copy it from the address bar';
    setTimeout(() => (button.textContent = 'Copy link'), COPIED_MS);
  };
}

takeTokenOfAddress();
showCopyLink();
const roomName = roomOfPath(location.pathname);
const refuse = showLanding(roomName, (wish) => void enter(wish, refuse));
const former = takeSeat(roomName);
keepSeat(seat);
if (former) {
  showScreen('meeting');
  void enter(former, refuse);
}
