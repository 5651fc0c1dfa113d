// Files of JupyterLab's drives, read in parts where their address answers Range requests.

import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection, type ServiceManager } from "@jupyterlab/services";
import { type Bytes, bytesOf } from "../../../src/lib/inside";

const FIRST = 1 << 16; // bytes, which hold most headers

/** The bytes of a file. Rejects if it cannot be read. */
export async function contentsOf(
  { contents, serverSettings }: ServiceManager.IManager,
  path: string,
): Promise<Bytes> {
  const address = await contents.getDownloadUrl(path);
  const url = new URL(address, document.baseURI).href;
  const server = new URL(URLExt.join(serverSettings.baseUrl, "/"), document.baseURI).href;
  const ask = async (from: number, to: number) => {
    const headers = { Range: `bytes=${from}-${to - 1}` };
    const init: RequestInit = { headers, cache: "no-store" };
    // Only the server may see its token: the addresses of other drives can be anyone's.
    const response = url.startsWith(server)
      ? await ServerConnection.makeRequest(url, init, serverSettings)
      : await fetch(url, { ...init, credentials: "omit", referrerPolicy: "no-referrer" });
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    return response;
  };
  const first = await ask(0, FIRST);
  const size = Number(/\/(\d+)$/.exec(first.headers.get("Content-Range") ?? "")?.[1] ?? "NaN");
  if (first.status !== 206 || Number.isNaN(size)) return bytesOf(await first.blob());
  const start = new Uint8Array(await first.arrayBuffer());
  return {
    size,
    async read(from, to) {
      if (to <= start.length) return start.slice(from, to);
      return new Uint8Array(await (await ask(from, to)).arrayBuffer());
    },
  };
}
