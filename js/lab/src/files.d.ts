// import text from "./file?text"
declare module "*?text" {
  const text: string;
  export default text;
}
