// import text from "./file?text"
declare module "*?text" {
  const text: string;
  export default text;
}

// import address from "-!./file?file": the file itself, as it is, at an address of its own
declare module "*?file" {
  const address: string;
  export default address;
}
