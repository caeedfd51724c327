/** Who came, who left, and what an admin or a failure did to tracks, said in passing. */
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
  /** Whose tracks failed: what goes wrong with one does so with all. */
  const told = new WeakSet();
  const tellOnce = (/** @type {import('../sdk/tertulia.js').RemoteParticipant} */ participant, /** @type {import('../sdk/tertulia.js').TertuliaError} */ { code, message }) => {
    if (told.has(participant)) return;
    told.add(participant);
    if (!code.startsWith('codec_')) return toast(message, 'problem');
    // Without a key, what is encrypted is nothing but broken frames.
    const why = isEncrypted ? 'What they send cannot be decoded.' : 'If the meeting is encrypted, open the whole link, with the key.';
    toast(`${participant.name} cannot be shown here. ${why}`, 'problem');
  };
  room.on('mediaFailed', ({ source, error, participant }) => {
    if (participant) return tellOnce(participant, error);
    // What is wrong with these, their controls tell.
    if (source === 'microphone' || source === 'camera') return media.failed(source, error);
    toast(problemOf(source, error).join(' '), 'problem');
  });
}
