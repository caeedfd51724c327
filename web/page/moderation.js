/** What an admin can do to the whole room, and what everyone sees of it. */
import { find } from './element.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */

/** @param {Room} room @param {(text: string) => void} note says something in the chat of this page */
export function showModeration(room, note) {
  const tools = find('admin', HTMLDivElement);
  const lock = find('lock', HTMLButtonElement);
  const ending = find('end-dialog', HTMLDialogElement);
  const fail = (/** @type {Error} */ error) => note(error.message);
  const show = () => {
    tools.hidden = room.permissions?.admin !== true;
    for (const tool of tools.querySelectorAll('button')) tool.disabled = room.state !== 'connected';
    lock.setAttribute('aria-checked', String(room.locked));
    find('locked', HTMLSpanElement).hidden = !room.locked;
    if (room.state === 'disconnected') ending.close();
  };
  lock.onclick = () => void room.setLocked(!room.locked).catch(fail);
  find('end', HTMLButtonElement).onclick = () => ending.showModal();
  ending.onclose = () => {
    if (ending.returnValue === 'end') room.endMeeting().catch(fail);
    ending.returnValue = '';
  };
  room.on('stateChanged', show);
  room.on('roomLocked', ({ locked }) => {
    show();
    note(locked ? 'The room is locked: nobody else can come in.' : 'The room is open again.');
  });
  room.on('participantDisconnected', ({ participant, reason }) => {
    if (reason === 'removed') note(`${participant.name} was removed from the meeting.`);
  });
  show();
}
