/** The meeting page: a landing, a doorway where one sees oneself, and the room. */
import { Room, TertuliaError } from './sdk/tertulia.js';
import { keyOfAddress, roomOfPath, transportOfAddress } from './page/address.js';
import { announce, forgetAnnouncements } from './page/announcer.js';
import { showBadge, showStatus } from './page/connection.js';
import { showComposer } from './page/composer.js';
import { showControls } from './page/controls.js';
import { find } from './page/element.js';
import { canEncrypt, isKey, showEncryption } from './page/encryption.js';
import { showInsecure } from './page/insecure.js';
import { copyInvitation } from './page/invitation.js';
import { showLanding } from './page/landing.js';
import { showMessages } from './page/messages.js';
import { showModeration } from './page/moderation.js';
import { tellNews } from './page/news.js';
import { OwnMedia } from './page/own-media.js';
import { closePanel, countUnread, showPanels } from './page/panels.js';
import { asksForToken, showPrejoin } from './page/prejoin.js';
import { choices } from './page/preferences.js';
import { askRelay } from './page/relay.js';
import { showRoster } from './page/roster.js';
import { showSettings } from './page/settings.js';
import { listenToKeys } from './page/shortcuts.js';
import { showStage } from './page/stage.js';
import { showStatistics } from './page/statistics.js';
import { askOpener, keepSeat, rememberedToken, takeSeat } from './page/tab.js';
import { clearToasts, toast } from './page/toasts.js';

/** @typedef {'landing' | 'prejoin' | 'meeting'} Screen */

/** Where a panel covers the stage, as in panels.css. */
const NARROW = '(max-width: 44rem)';

/** The meeting that is on, or was. @type {{ room: Room, roomName: string, key: string | null, stage: import('./page/stage.js').Stage } | null} */
let meeting = null;
let drawStatistics = () => {};

const media = new OwnMedia();
const prejoin = showPrejoin(media, (wish) => void enter(wish));

/** @param {Screen} screen */
function showScreen(screen) {
  document.body.dataset.screen = screen;
  for (const each of ['landing', 'prejoin', 'meeting']) find(each, HTMLElement).hidden = each !== screen;
  if (screen !== 'prejoin') prejoin.close();
  forgetAnnouncements();
}

/** Shows what the address names: a room, or the landing. */
function goToAddress() {
  const roomName = roomOfPath(location.pathname);
  if (!roomName) {
    media.stop();
    document.title = 'Tertulia';
    void showInsecure('landing', find('landing-problem', HTMLDivElement));
    return showScreen('landing');
  }
  document.title = `${roomName} · Tertulia`;
  showScreen('prejoin');
  const key = keyOfAddress();
  prejoin.open(roomName, key !== null);
  if (key !== null) checkKey(key);
}

/** Nobody comes unencrypted into a meeting whose link has a key. @param {string} key */
function checkKey(key) {
  const problem = !canEncrypt() ? 'This link asks for encryption, which browsers allow on secure addresses alone: https, or localhost.'
    : !isKey(key) ? 'The key in this link is damaged. Open the whole link that you were sent.' : null;
  if (problem) prejoin.refuse(new TertuliaError('encryption_unavailable', problem));
  return problem === null;
}

/** @param {{ name: string, ticket?: string, on?: { microphone: boolean, camera: boolean } }} wish */
async function enter({ name, ticket, on }) {
  const roomName = roomOfPath(location.pathname) ?? '';
  const key = keyOfAddress();
  if (key !== null && !checkKey(key)) return goToAddress();
  const room = new Room({
    name, room: roomName, token: rememberedToken, ticket, transport: transportOfAddress(), encryptionKey: key ?? undefined,
  });
  if (on) media.want(on);
  showMeeting(room, roomName, key);
  await connect(room);
}

/** @param {Room} room */
async function connect(room) {
  try {
    await room.connect(location.href);
    showScreen('meeting');
    arrive();
    await media.publish(room);
    if (choices.speaker) await room.switchActiveDevice('audiooutput', choices.speaker).catch(() => {});
  } catch (error) {
    // Who is in the meeting page already is told there, unless another token can help.
    if (document.body.dataset.screen === 'meeting' && !asksForToken(error)) return;
    goToAddress();
    prejoin.refuse(error);
  }
}

/** Where one is, for who does not see it; what one clicked is gone. Who comes back after a reload may be writing already. */
function arrive() {
  const focused = document.activeElement;
  const isBusy = find('meeting', HTMLDivElement).contains(focused) && focused?.checkVisibility();
  if (!isBusy) find('room-title', HTMLHeadingElement).focus({ preventScroll: true });
  announce('You are in the meeting.');
}

/** @param {Room} room @param {string} roomName @param {string | null} key */
function showMeeting(room, roomName, key) {
  meeting?.stage.dispose();
  clearToasts();
  find('room-title', HTMLHeadingElement).textContent = roomName;
  const { send, note } = showMessages(room, key !== null);
  const say = (/** @type {string} */ text) => {
    note(text);
    toast(text);
  };
  showComposer(room, send);
  showRoster(room, say);
  showModeration(room, say);
  showControls(room, media, toast);
  showBadge(room);
  showEncryption(key !== null);
  void showInsecure('meeting', find('meeting-problem', HTMLDivElement));
  countUnread(room);
  tellNews(room, media, key !== null);
  drawStatistics = showStatistics(room);
  meeting = { room, roomName, key, stage: showStage(room, media, copyLink) };
  showStatus(room, () => void connect(room));
  room.on('disconnected', () => {
    media.leave();
    if (matchMedia(NARROW).matches) closePanel();
  });
  const sound = find('start-audio', HTMLButtonElement);
  room.on('audioBlocked', () => (sound.hidden = false));
  sound.hidden = true;
  sound.onclick = () => void room.startAudio().then((isHeard) => (sound.hidden = isHeard));
  find('leave', HTMLButtonElement).onclick = () => room.disconnect();
}

/** What brings the next page of this tab back to the seat. */
function seat() {
  const ticket = meeting?.room.ticket;
  if (!meeting || !ticket || meeting.room.state === 'disconnected') return null;
  const { room, roomName } = meeting;
  return { room: roomName, name: room.localParticipant.name, ticket, untilMs: Date.now() + room.seatMs, on: media.on };
}

async function copyLink() {
  // The key of the meeting: the one in the address bar may be another by now.
  const { roomName = '', key = null } = meeting ?? {};
  await copyInvitation(roomName, key);
  // This computer may be in another network by the next time.
  askRelay();
}

/** A link that is opened in a tab which has the page already only changes the fragment. */
function takeFragment() {
  if (document.body.dataset.screen === 'prejoin') goToAddress();
}

const former = takeSeat(roomOfPath(location.pathname) ?? '');
keepSeat(seat);
askOpener(prejoin.takeToken);
askRelay();
showLanding(({ room, search, hash }) => {
  history.pushState(null, '', `/r/${room}${search}${hash}`);
  goToAddress();
});
showPanels(() => drawStatistics());
showSettings(media, () => meeting?.room ?? null);
listenToKeys();
find('copy-link', HTMLButtonElement).onclick = () => void copyLink();
addEventListener('hashchange', takeFragment);
addEventListener('popstate', () => {
  meeting?.room.disconnect();
  goToAddress();
});
if (former) {
  showScreen('meeting');
  void enter(former);
} else {
  goToAddress();
}
