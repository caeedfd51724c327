/** Where a message is written, and who else is writing. */
import { find } from './element.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */

/** Someone who wrote nothing for this long has stopped, in milliseconds. */
const TYPING_MS = 4000;

/**
 * @param {Room} room
 * @param {(text: string, to: number | null) => void} send
 */
export function showComposer(room, send) {
  const form = find('composer', HTMLFormElement);
  const text = find('text', HTMLTextAreaElement);
  const to = find('to', HTMLSelectElement);
  const typing = ownTyping(room);
  form.onsubmit = (event) => {
    event.preventDefault();
    if (text.value.trim() === '') return;
    send(text.value.trim(), to.value === '' ? null : Number(to.value));
    text.value = '';
    typing(false);
    text.focus();
  };
  text.onkeydown = (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  };
  text.oninput = () => typing(text.value !== '');
  room.on('stateChanged', (state) => {
    const mayWrite = room.permissions?.chat !== false;
    text.disabled = find('send', HTMLButtonElement).disabled = !mayWrite || state === 'disconnected';
    text.placeholder = mayWrite ? 'Write a message' : 'You may read here, not write';
  });
  showTyping(room);
}

/** Puts what was not sent back to where it is written, before what is there. @param {{ text: string, to: number | null }} message */
export function writeAgain(message) {
  const [text, to] = [find('text', HTMLTextAreaElement), find('to', HTMLSelectElement)];
  const wanted = String(message.to ?? '');
  // What was for one participant is never made for everyone in passing: of two recipients, the more private one.
  const isMixed = text.value !== '' && to.value !== wanted;
  text.value = [message.text, text.value].filter(Boolean).join('\n');
  if (!isMixed || to.value === '') to.value = wanted;
  if (to.selectedIndex >= 0) return (isMixed ? to : text).focus();
  // Whoever it was for has left: it is for everyone now, which is to be seen before it is sent.
  to.value = '';
  to.focus();
}

/** Tells the others once when writing begins and once when it ends. @param {Room} room */
function ownTyping(room) {
  let active = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let pause;
  const tell = (/** @type {boolean} */ now) => {
    clearTimeout(pause);
    if (now) pause = setTimeout(() => tell(false), TYPING_MS);
    if (now !== active) room.chat.setTyping(now);
    active = now;
  };
  return tell;
}

/** @param {Room} room */
function showTyping(room) {
  const line = find('typing', HTMLParagraphElement);
  /** @type {Map<number, string>} */
  const writing = new Map();
  const show = () => {
    const names = [...writing.values()];
    line.textContent = names.length === 0 ? '' : names.length === 1 ? `${names[0]} is writing…` : names.length === 2 ? `${names[0]} and ${names[1]} are writing…` : `${names.length} people are writing…`;
  };
  const stop = (/** @type {number} */ id) => {
    writing.delete(id);
    show();
  };
  room.on('chatTyping', ({ participant: { id, name }, active }) => {
    if (!active) return stop(id);
    writing.set(id, name);
    show();
  });
  room.on('participantDisconnected', ({ participant: { id } }) => stop(id));
  room.on('stateChanged', (state) => {
    if (state === 'connected') return;
    writing.clear();
    show();
  });
  show();
}
