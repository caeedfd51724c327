/** Who is in the room. */
import { avatar, element, find } from './element.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */

/** Keeps the list and the choice of whom to write to in step with the room. @param {Room} room */
export function showRoster(room) {
  const list = find('roster', HTMLUListElement);
  const count = find('people-count', HTMLSpanElement);
  const to = find('to', HTMLSelectElement);
  const show = () => {
    const others = [...room.remoteParticipants.values()];
    list.replaceChildren(person(room.localParticipant.name, 'you'), ...others.map(({ name, kind }) => person(name, kind === 'plain' ? 'chat only' : '')));
    count.textContent = String(others.length + 1);
    const chosen = to.value;
    to.replaceChildren(new Option('Everyone', ''), ...others.map(({ id, name }) => new Option(name, String(id))));
    to.value = room.remoteParticipants.has(Number(chosen)) ? chosen : '';
  };
  room.on('participantJoined', show).on('participantLeft', show).on('stateChanged', show);
  show();
}

/** @param {string} name @param {string} tag */
function person(name, tag) {
  const who = element('span', 'who', name);
  who.title = name;
  return element('li', 'person', avatar(name), who, ...(tag ? [element('span', 'tag', tag)] : []));
}
