/*
 * Downloads: studio.save(element) lets the links in an element keep their names.
 * The server names a file as it is on disk; a link to the bytes themselves keeps the name with the seed.
 */
window.studio.save = (element) => {
  element.addEventListener("click", async (event) => {
    const link = event.target.closest("a[download]");
    if (!link || link.href.startsWith("blob:")) return;
    event.preventDefault();
    const answer = await fetch(link.href);
    if (!answer.ok) return;
    const save = document.createElement("a");
    save.href = URL.createObjectURL(await answer.blob());
    save.download = link.download;
    save.click();
    setTimeout(() => URL.revokeObjectURL(save.href), 60000);
  });
};
