"""Run in TensorFlow's environment by test_import_tensorflow.py: networks trained a little, saved as COVID-Net's were.

    python released.py KERAS OUT

KERAS is a folder with tf_keras, the Keras that writes TensorFlow 1 graphs. Beside each meta graph and checkpoint,
answers.npz has images and what the session that trained the network says of them.
"""

import os
import sys
from pathlib import Path

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
sys.path.append(sys.argv[1])

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers
from tf_keras.src.backend import get_session

tf1 = tf.compat.v1
SIZE = 48


def keras(out: Path) -> None:
    """COVID-Net's kinds of layers and names, by Keras: batch normalisation with a branch each for training and
    prediction, depthwise convolutions, a stem that is padded unevenly, sums of several paths."""

    def pepx(x, width):
        for layer in (
            layers.Conv2D(width // 4, 1),
            layers.Conv2D(width // 2, 1),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.Conv2D(width // 4, 1),
            layers.Conv2D(width, 1),
            layers.BatchNormalization(epsilon=1.001e-5),
            layers.Activation("relu"),
        ):
            x = layer(x)
        return x

    entry = x = layers.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 7, strides=2, padding="same", name="conv1_conv")(x)
    x = layers.BatchNormalization(name="conv1_bn")(x)
    x = layers.MaxPooling2D(2)(layers.Activation("relu")(x))
    path = layers.Conv2D(16, 1)(x)
    first = pepx(x, 16)
    second = pepx(layers.add([first, path]), 16)
    x = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu")(layers.add([first, second, path]))
    x = layers.Dense(20, activation="relu", name="norm_dense")(layers.Flatten()(x))
    x = layers.Dense(3, activation="softmax", use_bias=False, name="norm_dense_1")(x)
    model = tf_keras.Model(entry, x)
    model.compile(tf_keras.optimizers.legacy.Adam(3e-3), "categorical_crossentropy")
    model.fit(*drawn(96), epochs=6, verbose=0)
    save(get_session(), entry.name, out)


def plain(out: Path) -> None:
    """Without Keras: variables of the old kind, pictures of any size."""
    entry = tf1.placeholder(tf.float32, [None, None, None, 3], "input_1")
    x = tf.nn.conv2d(entry, tf1.get_variable("conv/kernel", [5, 5, 3, 6]), 4, "SAME")
    positive = tf1.random_uniform_initializer(0.5, 2)
    moments = [tf1.get_variable(f"bn/{name}", [6], initializer=positive) for name in ("gamma", "beta", "mean", "var")]
    x = tf.nn.relu(tf1.nn.fused_batch_norm(x, *moments, is_training=False)[0])
    x = tf.reduce_mean(x, [1, 2])
    kernel = tf1.get_variable("norm_dense_1/kernel", [6, 3])
    with tf1.name_scope("norm_dense_1/"):
        tf.nn.softmax(tf.matmul(x, kernel, name="MatMul"), name="Softmax")
    with tf1.Session() as session:
        session.run(tf1.global_variables_initializer())
        save(session, entry.name, out)


def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour noise, the brighter in one channel the class."""
    random = np.random.default_rng(1)
    classes = random.integers(0, 3, count)
    images = random.random((count, SIZE, SIZE, 3), dtype=np.float32)
    return images * (0.5 + 0.5 * np.eye(3, dtype=np.float32)[classes])[:, None, None], np.eye(3)[classes]


def save(session: tf1.Session, entry: str, out: Path) -> None:
    """Meta graph, checkpoint, and what the session says of some images."""
    with session.graph.as_default():
        saver = tf1.train.Saver()
        saver.save(session, str(out / "model"), global_step=18540, write_meta_graph=False)
        tf1.train.export_meta_graph(str(out / "model.meta"), saver_def=saver.saver_def)
    images = drawn(5)[0]
    logits, probabilities = session.run(["norm_dense_1/MatMul:0", "norm_dense_1/Softmax:0"], {entry: images})
    np.savez(out / "answers.npz", images=images, logits=logits, probabilities=probabilities)


if __name__ == "__main__":
    tf1.disable_v2_behavior()
    for build in (keras, plain):
        with tf.Graph().as_default():
            tf_keras.utils.set_random_seed(0)
            tf1.set_random_seed(0)  # of this graph
            folder = Path(sys.argv[2]) / build.__name__
            folder.mkdir()
            build(folder)
