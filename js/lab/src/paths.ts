// Paths of JupyterLab's contents: "folder/file" on the server's own drive, or "Drive:folder/file".

/** The path of a file in a folder, which may be the top of a drive, as in "Drive:". */
export function inFolder(folder: string, name: string): string {
  return folder === "" || folder.endsWith(":") || folder.endsWith("/")
    ? folder + name
    : `${folder}/${name}`;
}

/** The folder of a path. */
export function folderOf(path: string): string {
  const end = path.lastIndexOf("/");
  return end < 0 ? path.slice(0, path.indexOf(":") + 1) : path.slice(0, end);
}

/** The last part of a path. */
export const nameOf = (path: string) => path.split(/[/:]/).at(-1) ?? path;
