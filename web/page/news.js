/** Who came, who left, and what an admin or a failure did to tracks, said in passing. */
import { isInsecure } from './insecure.js';
import { problemOf } from './problems.js';
import { toast } from './toasts.js';

/** @typedef {import('../sdk/tertulia.js').Room} Room */
/** @typedef {import('./own-media.js').OwnMedia} OwnMedia */

/** For so long after one is seated the relay says who is there already, in milliseconds. */
const ARRIVING_MS = 1500;

/** @param {Room} room @param {OwnMedia} media @param {boolean} isEncrypted */
export function tellNews(room, media, isEncrypted) {
  let quietUntilMs = Infinity;
  room.on('stateChanged', (state) => {
    quietUntilMs = state === 'connected' ? performance.now() + ARRIVING_MS : Infinity;
  });
  const isQuiet = () => performance.now() < quietUntilMs;
  room.on('participantConnected', ({ name, kind }) => {
    if (!isQuiet() && kind !== 'plain') toast(`${name} joined`);
  });
  room.on('participantDisconnected', ({ participant, reason }) => {
    if (!isQuiet() && reason !== 'removed' && participant.kind !== 'plain') toast(`${participant.name} left`);
  });
  room.on('trackPublished', ({ participant, track }) => {
    if (!isQuiet() && track.info.source === 'screen') toast(`${participant.name} shares the screen`);
  });
  room.on('localTrackMuted', ({ track, muted, byAdmin }) => {
    if (muted && byAdmin) toast(`An admin switched off your ${track.source}. You can switch it on again.`, 'problem');
  });
  const tellFailure = failuresOnce(isEncrypted);
  room.on('mediaFailed', ({ source, error, participant }) => {
    if (participant) return tellFailure(participant, error);
    // What is wrong with these, their controls tell.
    if (source === 'microphone' || source === 'camera') return media.failed(source, error);
    toast(problemOf(source, error).join(' '), 'problem');
  });
}

/**
 * What goes wrong with one track of someone does so with all of the kind, and what is wrong with this page with everybody's: each is
 * said once.
 * @param {boolean} isEncrypted
 */
function failuresOnce(isEncrypted) {
  const here = {};
  /** The codes, by whose they are. @type {WeakMap<object, Set<string>>} */
  const told = new WeakMap();
  return (/** @type {import('../sdk/tertulia.js').RemoteParticipant} */ participant, /** @type {import('../sdk/tertulia.js').TertuliaError} */ { code, message }) => {
    // What is wrong then is the address, and the page says so all the time.
    if (isInsecure()) return;
    const isTheirs = code.startsWith('codec_');
    const whose = isTheirs ? participant : here;
    const codes = told.get(whose) ?? new Set();
    if (codes.has(code)) return;
    told.set(whose, codes.add(code));
    // Without a key, what is encrypted is nothing but broken frames.
    const why = code === 'codec_failed' && !isEncrypted ? `${message} If the meeting is encrypted, open the whole link, with the key.` : message;
    toast(isTheirs ? `What ${participant.name} sends cannot be played here. ${why}` : why, 'problem');
  };
}
