// As in web/README.md.
declare module 'https://relay.example/sdk/tertulia.js' {
  export * from 'tertulia';
}
