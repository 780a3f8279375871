// What booktools.pdf runs in the first page, function by function.
({
  // The pages that the contents list.
  contents() {
    const links = document.querySelectorAll("#contents a");
    return [...links].map((a) => new URL(a.href).pathname.slice(1));
  },

  // What a page refers to by name gets the page's name before its own, and a link to a
  // page becomes one to the place where it stands here.
  async join([pages, style]) {
    const main = document.querySelector("main");
    const slug = (path) => path.replace(/\.html$/, "").replaceAll("/", "-");
    const parts = [];
    for (const page of pages) {
      const url = new URL(page, location.origin + "/");
      const text = await (await fetch(url)).text();
      const doc = new DOMParser().parseFromString(text, "text/html");
      const part = document.createElement("article");
      part.append(...doc.querySelector("main").childNodes);
      // A formula is read aloud as its source; each colored word of code would be an
      // object of the file, and all of them half of it.
      for (const e of part.querySelectorAll(".katex")) {
        e.setAttribute("role", "img");
        e.ariaLabel = e.querySelector("annotation").textContent;
      }
      for (const e of part.querySelectorAll("pre")) e.textContent = e.textContent;
      const gone = ".headerlink, script, form, .guess, .panel, .filter, .katex-mathml";
      for (const e of part.querySelectorAll(gone)) e.remove();
      for (const e of part.querySelectorAll("details")) {
        e.open = true;
        const what = e.querySelector("summary").textContent;
        if (/^(How this was measured|Code of )/.test(what)) e.remove();
        if (/^\s*Show code/.test(what)) e.querySelector("summary").textContent = "Code";
      }
      for (const e of part.querySelectorAll("[id]")) {
        if (e.id) e.id = `${slug(page)}--${e.id}`; else e.removeAttribute("id");
      }
      for (const e of part.querySelectorAll("a[href]")) {
        const to = new URL(e.getAttribute("href"), url), path = to.pathname.slice(1);
        if (to.origin !== location.origin) continue;
        const name = decodeURIComponent(to.hash.slice(1)).split("?")[0];
        if (pages.includes(path)) e.href = `#${slug(path)}${name ? `--${name}` : ""}`;
        else e.removeAttribute("href");
      }
      for (const e of part.querySelectorAll("img")) {
        e.loading = "eager";
        e.src = new URL(e.getAttribute("src"), url).href;
      }
      part.id = slug(page);
      parts.push(part);
    }
    main.replaceChildren(...parts);
    for (const name of ["katex/katex.min.css", "explorables/explorables.css"]) {
      const link = Object.assign(document.createElement("link"), {
        rel: "stylesheet", href: `${location.origin}/_static/${name}` });
      document.head.append(link);
      await new Promise((done) => { link.onload = link.onerror = done; });
    }
    const own = document.createElement("style");
    own.textContent = style;
    document.head.append(own);
    await Promise.all([...document.images].map((e) => e.decode().catch(() => {})));
    await document.fonts.ready;
  },

  // A formula that cannot be broken and is wider than the paper is printed smaller.
  fit() {
    let small = 0;
    for (const e of document.querySelectorAll(".katex-display, .scroll")) {
      if (e.scrollWidth <= e.clientWidth) continue;
      e.style.zoom = Math.max(0.5, (e.clientWidth - 2) / e.scrollWidth);
      small += 1;
    }
    return small;
  },
})
