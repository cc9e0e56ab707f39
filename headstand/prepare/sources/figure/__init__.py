"""The drawn person: poses as joint angles, a skeleton, a body around it, a camera, and a scene behind it."""
