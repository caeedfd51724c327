/** The panel beside the stage: chat, people or statistics, one at a time. */
import { announce, unheardMessages } from './announcer.js';
import { find } from './element.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */
/** @typedef {'chat' | 'people' | 'statistics'} PanelName */

const TITLES = { chat: 'Chat', people: 'People', statistics: 'Connection' };
const OPENERS = { chat: 'toggle-chat', people: 'toggle-people', statistics: 'badge' };
const NAMES = /** @type {PanelName[]} */ (Object.keys(TITLES));

/** Beyond this many unread messages their number says nothing more. */
const UNREAD_MAX = 99;

/** @type {PanelName | null} */
let shown = null;

/** Messages that came while the chat was closed. */
let unread = 0;
const unheard = unheardMessages(announce);

/** @param {(name: PanelName | null) => void} changed */
export function showPanels(changed) {
  for (const name of NAMES) {
    find(OPENERS[name], HTMLButtonElement).onclick = () => (shown === name ? close() : open(name));
  }
  const open = (/** @type {PanelName} */ name) => {
    set(name);
    changed(name);
    find(name === 'chat' ? 'text' : 'panel-title', HTMLElement).focus({ preventScroll: true });
  };
  const close = () => {
    const opener = shown && find(OPENERS[shown], HTMLButtonElement);
    const hadFocus = find('panel', HTMLElement).contains(document.activeElement);
    set(null);
    changed(null);
    if (hadFocus) opener?.focus();
  };
  find('close-panel', HTMLButtonElement).onclick = close;
  find('panel', HTMLElement).onkeydown = ({ key, isComposing }) => {
    if (key === 'Escape' && !isComposing) close();
  };
}

export function closePanel() {
  set(null);
}

/** @param {PanelName | null} name */
function set(name) {
  shown = name;
  const panel = find('panel', HTMLElement);
  panel.hidden = name === null;
  panel.dataset.shown = name ?? '';
  document.body.dataset.panel = name ?? '';
  for (const each of NAMES) {
    find(`${each}-panel`, HTMLElement).hidden = each !== name;
    find(OPENERS[each], HTMLButtonElement).ariaExpanded = String(each === name);
  }
  if (name) find('panel-title', HTMLHeadingElement).textContent = TITLES[name];
  if (name === 'chat') showUnread(0);
}

/** Counts on the button what was said while the chat was closed. @param {Room} room */
export function countUnread(room) {
  /** What was said before one came is no news. */
  let isCaughtUp = false;
  showUnread(0);
  room.on('caughtUp', () => (isCaughtUp = true));
  room.on('chatMessage', ({ own, fromName, text, to, protection }) => {
    if (shown === 'chat' || own || !isCaughtUp) return;
    showUnread(unread + 1);
    unheard.came(to === null ? fromName : `${fromName}, only to you`, protection === 'unreadable' ? 'a message that cannot be read here' : text);
  });
}

/** @param {number} count */
function showUnread(count) {
  unread = count;
  if (count === 0) unheard.seen();
  const mark = find('unread', HTMLSpanElement);
  mark.hidden = count === 0;
  mark.textContent = count > UNREAD_MAX ? `${UNREAD_MAX}+` : String(count);
  find('toggle-chat', HTMLButtonElement).ariaLabel = count === 0 ? 'Chat' : `Chat, ${count} unread`;
}
