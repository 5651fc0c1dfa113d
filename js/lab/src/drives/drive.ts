// A file of JupyterLab's drives, for a source.

import { URLExt } from "@jupyterlab/coreutils";
import { type Contents, ServerConnection, type ServiceManager } from "@jupyterlab/services";
import type { Drive } from "./source";

/** The file at the path that `where` returns, whichever drive it is on. */
export function driveOf(
  { contents, serverSettings }: ServiceManager.IManager,
  where: () => string,
): Drive {
  const get = (more: Contents.IFetchOptions) => contents.get(where(), { type: "file", ...more });
  return {
    address: async () => (await contents.getDownloadUrl(where())) || undefined,
    ask(address, init) {
      const url = new URL(address, document.baseURI).href;
      const server = new URL(URLExt.join(serverSettings.baseUrl, "/"), document.baseURI).href;
      // Only the server may see its token: the addresses of other drives can be anyone's.
      if (url.startsWith(server)) return ServerConnection.makeRequest(url, init, serverSettings);
      return fetch(url, { ...init, credentials: "omit", referrerPolicy: "no-referrer" });
    },
    size: async () => (await get({ content: false })).size ?? undefined,
    content: () => get({ content: true, format: "base64" }),
  };
}
