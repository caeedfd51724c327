// A program in TypeScript that uses the package: it compiles, and what is wrong in it is found.
import { Room, TertuliaError, createLocalTrack, type ChatMessage, type ErrorCode, type LocalTrack, type RemoteTrack, type RoomOptions, type RoomStatistics, type Support } from 'tertulia';

const options: RoomOptions = { name: 'Ana', token: async () => 'fresh' };

export async function meet(url: URL): Promise<readonly ChatMessage[]> {
  const room = new Room(options);
  room.on('chatMessage', ({ fromName, text }) => console.log(fromName.trim(), text.trim()))
    .on('reconnected', ({ resumed }: { resumed: boolean }) => console.log(resumed));
  try {
    await room.connect(url);
    const { sequence } = await room.chat.send('hello');
    console.log(sequence.toFixed(), room.state, room.localParticipant.name, [...room.remoteParticipants.values()].map(({ name }) => name));
  } catch (error) {
    if (error instanceof TertuliaError) console.log(advice(error.code));
  }
  for await (const event of room) if (event.type === 'disconnected') console.log(event.value.reason);
  return room.chat.messages({ since: 1 });
}

function advice(code: ErrorCode): string {
  // @ts-expect-error there is no such code
  if (code === 'room_is_full') return 'never';
  return code === 'room_full' ? 'later' : code;
}

export async function show(room: Room, place: HTMLElement, preview: HTMLVideoElement): Promise<RoomStatistics> {
  room.on('trackPublished', ({ participant, track }) => {
    const canvas: HTMLCanvasElement | null = track.attach(place);
    console.log(participant.name, track.kind, track.source, canvas?.width);
  }).on('trackUnpublished', ({ track }) => track.detach());
  const { encoding, problems }: Support = await Room.checkSupport();
  if (!encoding) console.log(problems.map(({ code, message }) => `${code}: ${message}`));
  const [device] = await Room.getLocalDevices('videoinput');
  const camera: LocalTrack = await createLocalTrack({ source: 'camera', deviceId: device?.deviceId, width: 640, height: 360, frameRate: 15 });
  camera.attach(preview);
  await room.localParticipant.publishTrack(camera);
  const microphone: LocalTrack | null = await room.localParticipant.setMicrophoneEnabled(true, { noiseSuppression: false });
  console.log(microphone?.level.toFixed(), room.activeDevice('audiooutput')?.length);
  const seen: RemoteTrack[] = [...room.remoteParticipants.values()].flatMap(({ tracks }) => [...tracks.values()]);
  for (const track of seen) track.setVolume(0.5);
  return room.stats();
}

export async function speakers(room: Room): Promise<string[]> {
  for await (const event of room) {
    if (event.type === 'activeSpeakers') return event.value.participants.map(({ id }) => room.remoteParticipants.get(id)?.name ?? 'I');
    if (event.type === 'statistics') console.log(event.value.roundTripMs?.toFixed(), event.value.tracks.map(({ latencyMs }) => latencyMs?.p95.toFixed()));
  }
  return [];
}

// @ts-expect-error there is no such source
createLocalTrack({ source: 'webcam' });
// @ts-expect-error a picture is drawn on an element, not on its name
export const attach = (track: RemoteTrack) => track.attach('#tile');
// @ts-expect-error the name is missing
new Room({});
// @ts-expect-error there is no such event
new Room(options).on('chatMassage', () => {});
// @ts-expect-error a state is not a number
new Room(options).on('stateChanged', (state: number) => state);
