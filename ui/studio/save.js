/*
 * Downloads: studio.save(element, words, say) lets the links in an element keep their names, and returns
 *   save({url, file, streamed})   what the server writes when it is asked for; say: called with how it goes
 * The server names a file as it is on disk; a link to the bytes themselves keeps the name with the seed.
 */
window.studio.save = (element, words, say) => {
  async function save({ url, file, streamed }) {
    if (streamed) {
      // Too much to hold here: the browser writes it as it comes.
      const link = document.createElement("a");
      link.href = url;
      link.download = file;
      link.dataset.streamed = "";
      link.click();
      return;
    }
    say(words.saving.replace("{file}", file));
    try {
      const answer = await fetch(url);
      if (!answer.ok) throw new Error(await answer.text());
      window.dom.save(await answer.blob(), file);
      say("");
    } catch (error) {
      say(error.message || words.not_saved);
    }
  }

  element.addEventListener("click", async (event) => {
    const link = event.target.closest("a[download]");
    if (!link || link.href.startsWith("blob:")) return;
    event.preventDefault();
    if (link.getAttribute("href")) save({ url: link.href, file: link.download });
  });
  return save;
};
