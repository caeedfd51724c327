/** Who is in the room. */
import { avatar, element, find } from './element.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */
/** @typedef {import('../sdk/tertulia.js').RemoteParticipant} RemoteParticipant */

/**
 * Keeps the list and the choice of whom to write to in step with the room.
 * @param {Room} room
 * @param {(text: string) => void} note says something in the chat of this page
 */
export function showRoster(room, note) {
  const list = find('roster', HTMLUListElement);
  /** @type {Map<RemoteParticipant, HTMLLIElement>} */
  const rows = new Map();
  let self = person(room.localParticipant.name, 'you');
  const show = () => {
    find('people-count', HTMLSpanElement).textContent = String(rows.size + 1);
    showRecipients([...rows.keys()]);
  };
  const remove = (/** @type {RemoteParticipant} */ participant) =>
    void room.removeParticipant(participant.id).catch((/** @type {Error} */ error) => note(error.message));
  room.on('participantConnected', (participant) => {
    const row = person(participant.name, participant.kind === 'plain' ? 'chat only' : '');
    row.append(...actions(participant.name, () => remove(participant)));
    rows.set(participant, row);
    // One by one, so that an open menu and the focus stay where they are.
    list.append(row);
    show();
  });
  room.on('participantDisconnected', ({ participant }) => {
    rows.get(participant)?.remove();
    rows.delete(participant);
    show();
  });
  room.on('stateChanged', () => {
    list.dataset.admin = String(room.permissions?.admin === true);
    const now = person(room.localParticipant.name, 'you');
    self.replaceWith(now);
    self = now;
  });
  list.replaceChildren(self);
  show();
}

/** @param {RemoteParticipant[]} others */
function showRecipients(others) {
  const to = find('to', HTMLSelectElement);
  const chosen = to.value;
  to.replaceChildren(new Option('Everyone', ''), ...others.map(({ id, name }) => new Option(name, String(id))));
  to.value = others.some(({ id }) => String(id) === chosen) ? chosen : '';
}

/** @param {string} name @param {string} tag */
function person(name, tag) {
  const who = element('span', 'who', name);
  who.title = name;
  return element('li', 'person', avatar(name), who, ...(tag ? [element('span', 'tag', tag)] : []));
}

/** What an admin can do to someone. @param {string} name @param {() => void} remove */
function actions(name, remove) {
  const more = element('button', 'more', '⋯');
  const item = element('button', 'quiet danger action', 'Remove');
  more.type = item.type = 'button';
  more.setAttribute('aria-label', `Actions for ${name}`);
  item.setAttribute('aria-label', `Remove ${name}`);
  item.title = 'Sends them away, and keeps them out for a while';
  const open = (/** @type {boolean} */ isOpen) => {
    item.hidden = !isOpen;
    more.setAttribute('aria-expanded', String(isOpen));
  };
  more.onclick = () => open(item.hidden === true);
  item.onclick = () => {
    open(false);
    remove();
  };
  item.onkeydown = more.onkeydown = ({ key }) => {
    if (key !== 'Escape') return;
    open(false);
    more.focus();
  };
  open(false);
  return [more, item];
}
