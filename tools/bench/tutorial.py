"""The tutorial's program, whole: `python -m tools.bench.tutorial data/raw EPOCHS`, for `tools.bench` to time.

Four things differ from its text, so that it runs at all and downloads nothing: the images come from the folder given,
pandas is imported, the labels are indexed as the array that they are, and the number of epochs is an argument.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from tensorflow.keras.layers import Dense
from tensorflow.keras.models import Sequential

from tools.bench.worker import load_data

(X_train, y_train), (X_test, y_test) = load_data(Path(sys.argv[1]))
print(f"Training data shape: {X_train.shape}, Training labels shape: {y_train.shape}")
print(f"Testing data shape: {X_test.shape}, Testing labels shape: {y_test.shape}")

X_train = X_train / 255.0
X_test = X_test / 255.0
X_train = X_train.reshape(-1, 28 * 28)
X_test = X_test.reshape(-1, 28 * 28)

model = Sequential()
model.add(Dense(128, activation="relu", input_shape=(784,)))
model.add(Dense(64, activation="relu"))
model.add(Dense(10, activation="softmax"))
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(
    X_train, y_train, validation_data=(X_test, y_test), epochs=int(sys.argv[2]), batch_size=32, verbose=1
)

test_loss, test_accuracy = model.evaluate(X_test, y_test)
print(f"Test Accuracy: {test_accuracy:.2f}")

history_df = pd.DataFrame(history.history)
history_df[["accuracy", "val_accuracy"]].plot()
plt.xlabel("Epochs")
plt.ylabel("Accuracy")
plt.title("Training and Validation Accuracy")
plt.show()

predictions = model.predict(X_test[:5])
for i in range(5):
    plt.imshow(X_test[i].reshape(28, 28), cmap="gray")
    plt.title(f"Predicted: {np.argmax(predictions[i])}, True: {y_test[i]}")
    plt.axis("off")
    plt.show()
