// Which files are meant by a drop or a chosen folder.

/** Names that cxrflow.reading reads. DICOM files often have no extension, or a number as the last part of a UID. */
export const EXTENSIONS = [
  ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".tif", ".tiff", ".bmp", ".dib", ".webp", ".gif",
  ".jp2", ".j2k", ".j2c", ".jpf", ".jpx", ".jls", ".dcm", ".dicom", ".dic", ".ima", ".gz", ".zip", ".heic", ".heif",
  ".avif", ".jxl",
];

/** Files that were chosen singly, all of them; and those in folders, sorted, without what cannot be a radiograph. */
export function meant(single, inFolders) {
  const images = inFolders.filter(([path]) => looksLikeImage(path));
  images.sort(([one], [other]) => one.localeCompare(other, undefined, { numeric: true }));
  return {
    files: [...single, ...images.map(([, file]) => file)],
    passedOver: inFolders.length - images.length,
  };
}

function looksLikeImage(path) {
  const name = path.split("/").pop().toLowerCase();
  if (path.split("/").some(part => part.startsWith("."))) return false;
  const extension = /\.[^.]*$/.exec(name);
  return !extension || /^\.\d+$/.test(extension[0]) || EXTENSIONS.includes(extension[0]);
}

/** The files of an input element for a folder. */
export function ofFolder(files) {
  return meant([], [...files].map(file => [file.webkitRelativePath || file.name, file]));
}

/** The files of a drop, those in dropped folders too. */
export async function ofDrop(transfer) {
  // Both lists are empty as soon as the event has been handled: they are read before anything is waited for.
  const entries = [...transfer.items].filter(item => item.kind === "file").map(item => item.webkitGetAsEntry?.());
  const files = [...transfer.files];
  if (!entries.length || entries.some(entry => !entry)) return meant(files, []);
  const inFolders = [];
  const single = [];
  for (const entry of entries) {
    if (entry.isDirectory) await collect(entry, inFolders);
    else single.push(await fileOf(entry));
  }
  return meant(single, inFolders);
}

const fileOf = entry => new Promise((resolve, reject) => entry.file(resolve, reject));

async function collect(folder, found) {
  const reader = folder.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 a time
    if (!some.length) return;
    for (const entry of some) {
      if (entry.isDirectory) await collect(entry, found);
      else found.push([entry.fullPath, await fileOf(entry)]);
    }
  }
}
