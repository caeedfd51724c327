/** The messages of the chat: in the order of the room, one's own unconfirmed ones last. */
import { TertuliaError, newMessageId } from '../sdk/tertulia.js';
import { writeAgain } from './composer.js';
import { avatar, button, element, find, words } from './element.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */
/** @typedef {import('../sdk/tertulia.js').ChatMessage} ChatMessage */
/** @typedef {{ messageId: string, text: string, to: number | null, error: string | null, isTooLong?: boolean }} Draft sent and not confirmed */

/** Messages of one person closer together than this share a head, in milliseconds. */
const GROUP_MS = 5 * 60 * 1000;
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

/** @param {Room} room @param {boolean} isEncrypted whether the meeting has a key */
export function showMessages(room, isEncrypted) {
  const log = find('messages', HTMLDivElement);
  /** @type {Map<string, { draft: Draft, node: HTMLElement }>} */
  const drafts = new Map();
  /** By the ids of their messages. @type {Map<string, HTMLElement>} */
  const nodes = new Map();
  log.replaceChildren(element('p', 'empty', 'Nobody has said anything yet.'));

  const keepAtEnd = (/** @type {() => void} */ change, force = false) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    change();
    if (atEnd || force) log.scrollTop = log.scrollHeight;
  };
  const firstDraft = () => drafts.values().next().value?.node ?? null;

  const confirm = (/** @type {ChatMessage} */ message) => {
    discard(message.messageId);
    const all = room.chat.messages();
    const at = all.indexOf(message);
    const node = messageNode(room, message, all[at - 1], isEncrypted);
    const next = all[at + 1];
    nodes.set(message.messageId, node);
    keepAtEnd(() => log.insertBefore(node, (next && nodes.get(next.messageId)) ?? firstDraft()));
    const [oldest] = nodes;
    if (nodes.size <= all.length) return;
    oldest[1].remove();
    nodes.delete(oldest[0]);
  };

  const draw = (/** @type {Draft} */ draft) => {
    const waits = room.state === 'connected' ? 'Sending…' : 'Waiting for the connection…';
    const node = draftNode(draft, waits, {
      retry: () => submit({ ...draft, error: null }),
      edit() {
        discard(draft.messageId);
        writeAgain(draft);
      },
      discard: () => discard(draft.messageId),
    });
    const old = drafts.get(draft.messageId);
    drafts.set(draft.messageId, { draft, node });
    keepAtEnd(() => (old ? old.node.replaceWith(node) : log.append(node)), !old);
  };

  const submit = (/** @type {Draft} */ draft) => {
    draw(draft);
    room.chat.send(draft.text, draft).catch((error) => {
      const { message, code } = error instanceof TertuliaError ? error : { message: 'It was not sent.', code: '' };
      if (drafts.has(draft.messageId)) draw({ ...draft, error: message, isTooLong: code === 'chat_too_long' });
    });
  };

  const discard = (/** @type {string} */ id) => {
    drafts.get(id)?.node.remove();
    drafts.delete(id);
  };

  const note = (/** @type {string} */ text) => keepAtEnd(() => log.insertBefore(element('p', 'note', text), firstDraft()));

  room.on('chatMessage', confirm);
  room.on('stateChanged', () => {
    for (const { draft } of drafts.values()) draw(draft);
  });
  return { send: (/** @type {string} */ text, /** @type {number | null} */ to) => submit({ messageId: newMessageId(), text, to, error: null }), note };
}

/** @param {Room} room @param {ChatMessage} message @param {ChatMessage | undefined} before @param {boolean} isEncrypted */
function messageNode(room, message, before, isEncrypted) {
  const { fromName, own, sentAt, to, kept, protection } = message;
  const follows = before?.from === message.from && before.fromName === fromName && before.to === to && +sentAt - +before.sentAt < GROUP_MS;
  const when = element('time', '', time.format(sentAt));
  when.dateTime = sentAt.toISOString();
  const head = element('p', 'head', words('strong', '', own ? 'You' : fromName), when);
  if (to !== null) head.append(own ? ` · only to ${room.remoteParticipants.get(to)?.name ?? 'one participant'}` : ' · only to you');
  const node = element('article', `message${own ? ' own' : ''}${follows ? ' follows' : ''}`, avatar(fromName), head, bubbleOf(message));
  if (isEncrypted && protection === 'none') node.append(element('p', 'foot', 'Not encrypted from end to end.'));
  if (!kept) node.append(element('p', 'foot', 'Not kept: who comes later will not see it.'));
  return node;
}

/** @param {ChatMessage} message */
function bubbleOf({ text, protection }) {
  if (protection !== 'unreadable') return words('p', 'bubble', text);
  return element('p', 'bubble unreadable', 'This message is encrypted. Open the whole link, with its key, to read it.');
}

/** @param {Draft} draft @param {string} waits @param {{ retry: () => void, edit: () => void, discard: () => void }} acts */
function draftNode({ text, error, isTooLong }, waits, { retry, edit, discard }) {
  const head = element('p', 'head', error ? 'Not sent' : waits);
  const node = element('article', `message own ${error ? 'failed' : 'pending'}`, head, words('p', 'bubble', text));
  if (!error) return node;
  const act = (/** @type {string} */ name, /** @type {() => void} */ does) => {
    const made = button('', name);
    made.onclick = does;
    return made;
  };
  // What is too long stays so however often it is sent.
  const again = isTooLong ? act('Edit', edit) : act('Try again', retry);
  node.append(element('p', 'foot', error, again, act('Discard', discard)));
  return node;
}
