/** The messages of the chat: in the order of the room, one's own unconfirmed ones last. */
import { TertuliaError, newMessageId } from '../sdk/tertulia.js';
import { avatar, element, find } from './element.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */
/** @typedef {import('../sdk/tertulia.js').ChatMessage} ChatMessage */
/** @typedef {{ messageId: string, text: string, to: number | null, error: string | null }} Draft sent and not confirmed */

/** Messages of one person closer together than this share a head, in milliseconds. */
const GROUP_MS = 5 * 60 * 1000;
const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

/** @param {Room} room */
export function showMessages(room) {
  const log = find('messages', HTMLDivElement);
  /** @type {Map<string, Draft>} */
  const drafts = new Map();
  /** @type {Map<string, HTMLElement>} */
  const draftNodes = new Map();
  /** @type {Map<number, HTMLElement>} */
  const nodes = new Map();
  log.replaceChildren(element('p', 'empty', 'Nobody has said anything yet.'));

  const keepAtEnd = (/** @type {() => void} */ change, force = false) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    change();
    if (atEnd || force) log.scrollTop = log.scrollHeight;
  };

  const confirm = (/** @type {ChatMessage} */ message) => {
    drafts.delete(message.messageId);
    draftNodes.get(message.messageId)?.remove();
    draftNodes.delete(message.messageId);
    const at = room.chat.messages.indexOf(message);
    const node = messageNode(room, message, room.chat.messages[at - 1]);
    const next = room.chat.messages[at + 1];
    nodes.set(message.sequence, node);
    keepAtEnd(() => log.insertBefore(node, (next && nodes.get(next.sequence)) ?? draftNodes.values().next().value ?? null));
  };

  const submit = (/** @type {Draft} */ draft) => {
    const redraw = () => {
      const node = draftNode(draft, () => submit({ ...draft, error: null }), () => discard(draft.messageId));
      const old = draftNodes.get(draft.messageId);
      draftNodes.set(draft.messageId, node);
      keepAtEnd(() => (old ? old.replaceWith(node) : log.append(node)), !old);
    };
    drafts.set(draft.messageId, draft);
    redraw();
    room.chat.send(draft.text, draft).catch((error) => {
      draft.error = error instanceof TertuliaError ? error.message : 'It was not sent.';
      if (drafts.has(draft.messageId)) redraw();
    });
  };

  const discard = (/** @type {string} */ id) => {
    drafts.delete(id);
    draftNodes.get(id)?.remove();
    draftNodes.delete(id);
  };

  for (const message of room.chat.messages) confirm(message);
  room.on('chatMessage', confirm);
  return { send: (/** @type {string} */ text, /** @type {number | null} */ to) => submit({ messageId: newMessageId(), text, to, error: null }) };
}

/** @param {Room} room @param {ChatMessage} message @param {ChatMessage | undefined} before */
function messageNode(room, message, before) {
  const { fromName, own, sentAt, text, to } = message;
  const follows = before?.from === message.from && before.to === to && +sentAt - +before.sentAt < GROUP_MS;
  const when = element('time', '', time.format(sentAt));
  when.dateTime = sentAt.toISOString();
  const head = element('p', 'head', element('strong', '', own ? 'You' : fromName), when);
  if (to !== null) head.append(own ? ` · only to ${room.remoteParticipants.get(to)?.name ?? 'one participant'}` : ' · only to you');
  return element('article', `message${own ? ' own' : ''}${follows ? ' follows' : ''}`, avatar(fromName), head, element('p', 'bubble', text));
}

/** @param {Draft} draft @param {() => void} retry @param {() => void} discard */
function draftNode({ text, error }, retry, discard) {
  const head = element('p', 'head', error ? 'Not sent' : 'Sending…');
  const node = element('article', `message own ${error ? 'failed' : 'pending'}`, head, element('p', 'bubble', text));
  if (!error) return node;
  const again = element('button', '', 'Try again');
  const drop = element('button', '', 'Discard');
  again.type = drop.type = 'button';
  again.onclick = retry;
  drop.onclick = discard;
  node.append(element('p', 'foot', error, again, drop));
  return node;
}
