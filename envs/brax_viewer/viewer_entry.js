/**
 * Brax's viewer of the episode that the page carries: `<script id="episode">` holds Brax's JSON of
 * system and states, compressed (zlib) and in base64.
 */
import {Viewer} from 'brax/viewer.js';

async function episode() {
  const text = document.getElementById('episode').textContent;
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const json = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Response(json).json();
}

/**
 * Keeps the body that is followed in the middle. Brax's viewer closes in on it by a tenth a picture,
 * and loses one that runs where few pictures a second are drawn.
 */
function follow(viewer) {
  const update = viewer.animator.update.bind(viewer.animator);
  viewer.animator.update = () => {
    update();
    if (viewer.camera.follow) viewer.target.getWorldPosition(viewer.controls.target);
  };
}

episode().then((system) => follow(new Viewer(document.getElementById('brax-viewer'), system)));
