// A program in TypeScript that uses the package: it compiles, and what is wrong in it is found.
import { Room, TertuliaError, type ChatMessage, type RoomOptions } from 'tertulia';

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
    if (error instanceof TertuliaError) console.log(error.code);
  }
  for await (const event of room) if (event.type === 'disconnected') console.log(event.value.reason);
  return room.chat.messages({ since: 1 });
}

// @ts-expect-error the name is missing
new Room({});
// @ts-expect-error there is no such event
new Room(options).on('chatMassage', () => {});
// @ts-expect-error a state is not a number
new Room(options).on('stateChanged', (state: number) => state);
