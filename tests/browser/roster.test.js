// What is an event for a page when a session tells who is there: only what really changed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Roster } from '../../web/sdk/roster.js';

/** @typedef {Extract<import('../../web/sdk/wire/messages.js').ServerMessage, { type: 'participantJoined' }>} ParticipantInfo */
/** @typedef {import('../../web/sdk/wire/messages.js').PublishedTrack} PublishedTrack */

/** @param {number} track @param {boolean} [muted] @returns {PublishedTrack} */
const microphone = (track, muted = false) => ({
  track, muted, info: { source: 'microphone', codec: 'opus', media: { type: 'audio', sampleRate: 48_000, channels: 1 }, description: new Uint8Array() },
});

/** @param {number} participant @param {string} name @param {Partial<ParticipantInfo>} [rest] @returns {ParticipantInfo} */
const info = (participant, name, rest) => ({ type: 'participantJoined', participant, name, identity: null, metadata: '', kind: 'meeting', tracks: [], ...rest });

/** @param {import('../../web/sdk/roster.js').RosterEvent[]} events */
const inWords = (events) => events.map(({ type, value }) => {
  const { name } = 'participant' in value ? value.participant : value;
  const track = 'track' in value ? ` ${value.track.id}${value.track.muted ? ' muted' : ''}` : '';
  return `${type} ${name}${track}${'reason' in value ? ` ${value.reason}` : ''}`;
});

/** A session that begins with these. @param {Roster} roster @param {ParticipantInfo[]} all */
const begin = (roster, ...all) => inWords([...roster.begin(all.length), ...all.flatMap((one) => roster.handle(one))]);

/** @param {ParticipantInfo[]} all */
function rosterOf(...all) {
  const roster = new Roster();
  begin(roster, ...all);
  return roster;
}

test('a first session tells everyone who is there', () => {
  assert.deepEqual(begin(new Roster(), info(1, 'Ana'), info(2, 'Bo')), ['participantConnected Ana', 'participantConnected Bo']);
});

test('a session that comes back to the same roster tells nothing, and the participants are the same objects', () => {
  const roster = rosterOf(info(1, 'Ana', { tracks: [microphone(7)] }), info(2, 'Bo'));
  const before = [...roster.participants.values()];
  assert.deepEqual(begin(roster, info(1, 'Ana', { tracks: [microphone(7)] }), info(2, 'Bo')), []);
  assert.ok([...roster.participants.values()].every((participant, at) => participant === before[at]));
});

test('nothing is judged before the whole roster has come', () => {
  const roster = rosterOf(info(1, 'Ana'), info(2, 'Bo'));
  roster.begin(2);
  assert.deepEqual(roster.handle(info(3, 'Carmen')), []);
  assert.deepEqual(inWords(roster.handle(info(2, 'Bo'))), ['participantDisconnected Ana connection_lost', 'participantConnected Carmen']);
});

test('a session that comes back to an empty room tells who left', () => {
  assert.deepEqual(begin(rosterOf(info(1, 'Ana'))), ['participantDisconnected Ana connection_lost']);
});

test('the same number can be someone else in a room that began anew', () => {
  const cases = /** @type {[ParticipantInfo, ParticipantInfo][]} */ ([
    [info(1, 'Ana'), info(1, 'Bo')],
    [info(1, 'Ana', { identity: 'ana' }), info(1, 'Ana', { identity: 'another-ana' })],
    [info(1, 'guest 1'), info(1, 'guest 1', { kind: 'plain' })],
  ]);
  for (const [before, after] of cases) {
    assert.deepEqual(begin(rosterOf(before), after), [`participantDisconnected ${before.name} connection_lost`, `participantConnected ${after.name}`]);
  }
});

test('a relay that was started again is given time to learn who is there', () => {
  const roster = rosterOf(info(1, 'Ana'), info(2, 'Bo'), info(3, 'Carmen'));
  assert.deepEqual(roster.begin(0, { isPatient: true }), []);
  assert.deepEqual(roster.handle(info(2, 'Bo')), []);
  assert.deepEqual(inWords(roster.handle({ type: 'participantLeft', participant: 1, reason: 'left' })), ['participantDisconnected Ana left']);
  assert.deepEqual([...roster.participants.keys()], [2, 3]);
  assert.deepEqual(inWords(roster.giveUp()), ['participantDisconnected Carmen connection_lost']);
  assert.deepEqual(roster.giveUp(), []);
});

test('who comes back with another number is waited for no longer', () => {
  const roster = rosterOf(info(1, 'Ana', { tracks: [microphone(1)] }), info(2, 'Bo', { tracks: [microphone(3)] }));
  roster.begin(0, { isPatient: true });
  assert.deepEqual(inWords(roster.handle(info(5, 'Bo'))), ['participantDisconnected Bo connection_lost', 'participantConnected Bo']);
  assert.deepEqual([...roster.participants.keys()], [1, 5]);
  assert.deepEqual(inWords(roster.giveUp()), ['participantDisconnected Ana connection_lost']);
});

test('tracks are compared one by one', () => {
  const roster = rosterOf(info(1, 'Ana', { tracks: [microphone(7), microphone(8), microphone(9)] }));
  assert.deepEqual(begin(roster, info(1, 'Ana', { tracks: [microphone(8, true), microphone(9), microphone(10)] })), [
    'trackUnpublished Ana 7', 'trackMuted Ana 8 muted', 'trackPublished Ana 10',
  ]);
});

test('the same number can be another track in a room that began anew', () => {
  const roster = rosterOf(info(1, 'Ana', { tracks: [microphone(7), microphone(8)] }));
  const again = microphone(7);
  const camera = { ...again, info: { ...again.info, source: /** @type {const} */ ('camera'), codec: 'vp8' } };
  const before = roster.participants.get(1)?.tracks.get(8);
  assert.deepEqual(begin(roster, info(1, 'Ana', { tracks: [camera, microphone(8)] })), ['trackUnpublished Ana 7', 'trackPublished Ana 7']);
  assert.deepEqual([roster.participants.get(1)?.tracks.get(7)?.source, roster.participants.get(1)?.tracks.get(8) === before], ['camera', true]);
});

test('tracks of several people can have changed their numbers in a room that began anew', () => {
  const roster = rosterOf(info(1, 'Ana', { tracks: [microphone(1), microphone(2)] }), info(2, 'Bo', { tracks: [microphone(3), microphone(4)] }));
  assert.deepEqual(begin(roster, info(1, 'Ana', { tracks: [microphone(1), microphone(3)] }), info(2, 'Bo', { tracks: [microphone(2), microphone(4)] })), [
    'trackUnpublished Ana 2', 'trackUnpublished Bo 3', 'trackPublished Ana 3', 'trackPublished Bo 2',
  ]);
  assert.deepEqual([...roster.participants.values()].map(({ tracks }) => [...tracks.keys()]), [[1, 3], [4, 2]]);
});

test('a newcomer can have the number of a track of someone who is still waited for', () => {
  const roster = rosterOf(info(1, 'Ana', { tracks: [microphone(1)] }));
  roster.begin(0, { isPatient: true });
  assert.deepEqual(inWords(roster.handle(info(2, 'Bo', { tracks: [microphone(1)] }))), ['trackUnpublished Ana 1', 'participantConnected Bo']);
});

test('while a session lives, each message is its own event', () => {
  const roster = rosterOf(info(1, 'Ana'));
  const said = /** @type {import('../../web/sdk/wire/messages.js').ServerMessage[]} */ ([
    info(2, 'Bo'),
    { type: 'trackPublished', participant: 2, track: microphone(7) },
    { type: 'trackMuted', track: 7, muted: true },
    { type: 'trackMuted', track: 7, muted: true },
    { type: 'trackMuted', track: 7, muted: false },
    { type: 'trackUnpublished', track: 7 },
    { type: 'trackUnpublished', track: 7 },
    { type: 'trackPublished', participant: 99, track: microphone(8) },
    { type: 'participantLeft', participant: 2, reason: 'removed' },
    { type: 'participantLeft', participant: 2, reason: 'removed' },
  ]);
  assert.deepEqual(said.map((message) => inWords(roster.handle(message))), [
    ['participantConnected Bo'], ['trackPublished Bo 7'], ['trackMuted Bo 7 muted'], [], ['trackMuted Bo 7'], ['trackUnpublished Bo 7'], [],
    [], ['participantDisconnected Bo removed'], [],
  ]);
});
